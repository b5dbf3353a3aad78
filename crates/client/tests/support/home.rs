//! Homes on the disk, each gone after its test.

use std::fs;
use std::path::PathBuf;

use osmynt_client::vault::{Session, Vault};
use osmynt_client::{Client, Home, Keystore, Time};

use super::Human;
use super::service::Service;

/// As far away as a clock goes.
pub const LATER: Time = Time(4_000_000_000);
/// Whose home it is once it is signed in: Ada's account.
pub const ADA: &str = "00000000-0000-4000-8000-000000000001";

/// A folder that is gone after the test.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Empty, and not even made.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("osmynt-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// The home of Ada, who is signed in to a service with the tokens of the first generation.
    pub fn signed_in(name: &str, service: &Service, access_ends: Time) -> Self {
        let folder = Self::new(name);
        let Human { keys, user, .. } = Human::new(1);
        let device = keys.signer.kid();
        Vault::open(&folder.home())
            .unwrap()
            .update(|secrets| {
                secrets.device = Some(keys);
                Ok(())
            })
            .unwrap();
        folder.set_session(generation(0, access_ends));
        let profile = format!(
            r#"{{"server":"{}","account":"{ADA}","user":"{user}","login":"ada","device":"{device}","device_name":"laptop"}}"#,
            service.origin
        );
        // With the rights that a file of a home has.
        fs::copy(folder.0.join("vault"), folder.0.join("profile.json")).unwrap();
        fs::write(folder.0.join("profile.json"), profile).unwrap();
        folder
    }

    pub fn home(&self) -> Home {
        Home::at(&self.0, Keystore::File)
    }

    /// As another process would open it.
    pub fn client(&self) -> Client {
        Client::open(self.home(), |_| {}).unwrap()
    }

    pub fn session(&self) -> Option<Session> {
        Vault::open(&self.home()).unwrap().read().unwrap().session
    }

    pub fn set_session(&self, session: Session) {
        set_session(&self.home(), session);
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
}

/// Signs in as another process would.
pub fn set_session(home: &Home, session: Session) {
    let change = Vault::open(home).unwrap().update(|secrets| {
        secrets.session = Some(session);
        Ok(())
    });
    change.unwrap();
}

/// The tokens `access-N` and `refresh-N`.
pub fn generation(number: u32, access_ends: Time) -> Session {
    Session {
        access_token: format!("access-{number}"),
        access_ends,
        refresh_token: format!("refresh-{number}"),
        refresh_ends: LATER,
        idempotency_key: None,
        deleting: false,
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
