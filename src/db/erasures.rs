//! Erasures of former users, from the request until they are due. What an erasure does is in `account.rs`.

use osmynt_core::api::{AccountEventType, Erasure};
use osmynt_core::limits::ERASURE_SECONDS;
use osmynt_core::{AccountId, DeviceId, Time, UserId};
use serde::Deserialize;
use worker::{D1PreparedStatement, query};

use super::me::PRESENT_USER;
use super::{Db, all, first, rows, wrote};
use crate::auth::Speaker;
use crate::problem::Problem;

impl Db {
    /// Asks to erase a former user of an account, for its present one. A second time changes nothing.
    pub(crate) async fn ask_erasure(
        &self,
        account: AccountId,
        by: UserId,
        device: DeviceId,
        user: UserId,
        now: Time,
    ) -> Result<Asked, Problem> {
        #[derive(Deserialize)]
        struct Present {
            present: u8,
        }
        let former = format!(
            "FROM users WHERE id = ?3 AND account = ?1 AND id <> ?2 AND ?2 = {PRESENT_USER}
             AND NOT EXISTS (SELECT 1 FROM erasures WHERE user = ?3)"
        );
        let event = query!(
            &self.0,
            &format!("INSERT INTO account_events (account, at, type, device) SELECT ?1, ?5, ?6, ?4 {former}"),
            account,
            by,
            user,
            device,
            now,
            AccountEventType::ErasureAsked,
        )?;
        let ask = query!(
            &self.0,
            &format!(
                "INSERT INTO erasures (user, asked_by, device, asked_at, due_at) SELECT ?3, ?2, ?4, ?5, ?6 {former}"
            ),
            account,
            by,
            user,
            device,
            now,
            now.plus(ERASURE_SECONDS),
        )?;
        let present = query!(&self.0, &format!("SELECT ?2 = {PRESENT_USER} AS present"), account, by)?;
        let asked = query!(
            &self.0,
            "SELECT e.user, e.asked_at, e.due_at FROM erasures e JOIN users u ON u.id = e.user AND u.account = ?1
             WHERE e.user = ?2",
            account,
            user,
        )?;
        let results = self.0.batch(vec![event, ask, present, asked]).await?;
        let [_, _, present, asked] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of four with another number"));
        };
        Ok(match (rows::<Present>(present)?.pop(), rows(asked)?.pop()) {
            (Some(Present { present: 1 }), Some(erasure)) => Asked::Erasure(erasure),
            (Some(Present { present: 1 }), None) => Asked::NotFormer,
            _ => Asked::NotPresent,
        })
    }

    /// For whom a device speaks now; none if for nobody.
    pub(crate) async fn speaker(&self, device: DeviceId) -> Result<Option<Speaker>, Problem> {
        let sql = "SELECT account, user, device FROM devices
                   WHERE device = ?1 AND user IS NOT NULL AND account IS NOT NULL AND revoked_seq IS NULL";
        first(&query!(&self.0, sql, device)?).await
    }

    /// Takes an erasure back that is not due yet, for one of the devices of the user who would be erased or of the one who
    /// asked.
    pub(crate) async fn withdraw_erasure(
        &self,
        account: AccountId,
        by: UserId,
        device: DeviceId,
        user: UserId,
        now: Time,
    ) -> Result<Withdrawn, Problem> {
        #[derive(Deserialize)]
        struct Rest {
            user: Option<UserId>,
            own: Option<u8>,
        }
        let own = "FROM erasures WHERE user = ?1 AND (user = ?2 OR asked_by = ?2) AND due_at > ?3";
        let event = query!(
            &self.0,
            &format!("INSERT INTO account_events (account, at, type, device) SELECT ?4, ?3, ?5, ?6 {own}"),
            user,
            by,
            now,
            account,
            AccountEventType::ErasureWithdrawn,
            device,
        )?;
        let withdraw = query!(&self.0, &format!("DELETE {own} RETURNING user AS id"), user, by, now)?;
        let rest = query!(
            &self.0,
            "SELECT u.id, e.user, e.user = ?2 OR e.asked_by = ?2 AS own FROM users u LEFT JOIN erasures e ON e.user = u.id
             WHERE u.id = ?1 AND u.account = ?3",
            user,
            by,
            account,
        )?;
        let results = self.0.batch(vec![event, withdraw, rest]).await?;
        let [_, withdrawn, rest] = results.as_slice() else {
            return Err(Problem::internal("D1 answered a batch of three with another number"));
        };
        if wrote(withdrawn)? {
            return Ok(Withdrawn::Done);
        }
        Ok(match rows::<Rest>(rest)?.pop() {
            None => Withdrawn::Stranger,
            // A repetition whose first answer was lost.
            Some(Rest { user: None, .. }) => Withdrawn::Done,
            Some(Rest { own: Some(1), .. }) => Withdrawn::TooLate,
            Some(_) => Withdrawn::NotOwn,
        })
    }

    /// The users whose erasure is due, with their accounts.
    pub(crate) async fn due_erasures(&self, now: Time) -> Result<Vec<Due>, Problem> {
        let statement = query!(
            &self.0,
            "SELECT e.user, u.account FROM erasures e JOIN users u ON u.id = e.user
             WHERE e.due_at <= ?1 AND u.account IS NOT NULL ORDER BY e.due_at LIMIT 20",
            now,
        )?;
        all(&statement).await
    }

    pub(super) fn erasures_of(&self, account: AccountId) -> Result<D1PreparedStatement, Problem> {
        Ok(query!(
            &self.0,
            "SELECT e.user, e.asked_at, e.due_at FROM erasures e JOIN users u ON u.id = e.user
             WHERE u.account = ?1 ORDER BY e.user",
            account,
        )?)
    }
}

/// What came of asking for an erasure.
pub(crate) enum Asked {
    Erasure(Erasure),
    /// The one who asks is not the account's present user.
    NotPresent,
    /// The one to be erased is not a former user of the account.
    NotFormer,
}

/// What came of withdrawing an erasure.
pub(crate) enum Withdrawn {
    /// There is none now.
    Done,
    /// It is due.
    TooLate,
    /// It is for another user to withdraw.
    NotOwn,
    /// The one to be erased is not a user of the account.
    Stranger,
}

/// An erasure that is due.
#[derive(Deserialize)]
pub(crate) struct Due {
    pub(crate) user: UserId,
    pub(crate) account: AccountId,
}
