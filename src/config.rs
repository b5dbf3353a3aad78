//! The settings, read once for each request and typed.

use worker::{Env, Url};

use crate::problem::Problem;
use crate::tokens::Secrets;

/// RFC 7518 section 3.2: a key for HS256 has at least as many bits as the hash.
const JWT_SECRET_BYTES: usize = 32;

/// What the service is told from outside. Not `Debug`: it holds secrets.
pub(crate) struct Config {
    /// Where people reach the service, without a slash at the end; also the issuer of its tokens.
    pub(crate) origin: String,
    pub(crate) github: GitHub,
    pub(crate) secrets: Secrets,
}

/// The identity provider: GitHub, or a stand-in for it in tests and local runs.
pub(crate) struct GitHub {
    /// Where people log in, without a slash at the end.
    pub(crate) url: String,
    /// The REST API, without a slash at the end.
    pub(crate) api_url: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

impl Config {
    /// Reads the variables and secrets of the Worker.
    pub(crate) fn from_env(env: &Env) -> Result<Self, Problem> {
        Self::parse(|name| env.var(name).ok().map(|value| value.to_string())).map_err(Problem::internal)
    }

    /// True when people reach the service by TLS, which `Secure` cookies need. Only a service on one's own machine does without.
    pub(crate) fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// The error says which setting to correct, for the log.
    fn parse(setting: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let required =
            |name: &str| setting(name).filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} is not set"));
        let base = |name: &str| {
            let url = Url::parse(&required(name)?).map_err(|_| format!("{name} is not a URL"))?;
            if !matches!(url.scheme(), "https" | "http") || url.query().is_some() || url.fragment().is_some() {
                return Err(format!("{name} must be an http or https URL without query and fragment"));
            }
            Ok(url.as_str().trim_end_matches('/').to_owned())
        };
        let long_enough = |name: &str, secret: String| {
            if secret.len() < JWT_SECRET_BYTES {
                let why = format!("{name} has fewer than {JWT_SECRET_BYTES} bytes");
                return Err(format!("{why}: make one with `openssl rand -base64 48`"));
            }
            Ok(secret.into_bytes())
        };
        let previous = setting("JWT_SECRET_PREVIOUS").filter(|secret| !secret.is_empty());
        let secrets = Secrets {
            current: long_enough("JWT_SECRET", required("JWT_SECRET")?)?,
            previous: previous.map(|secret| long_enough("JWT_SECRET_PREVIOUS", secret)).transpose()?,
        };
        Ok(Self {
            origin: base("ORIGIN")?,
            github: GitHub {
                url: base("GITHUB_URL")?,
                api_url: base("GITHUB_API_URL")?,
                client_id: required("GITHUB_CLIENT_ID")?,
                client_secret: required("GITHUB_CLIENT_SECRET")?,
            },
            secrets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: (&'static str, &'static str)) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let value = match name {
                _ if name == change.0 => change.1,
                "ORIGIN" => "https://osmynt.example/",
                "GITHUB_URL" => "https://github.com",
                "GITHUB_API_URL" => "https://github.example/api/v3",
                "GITHUB_CLIENT_ID" => "client",
                "GITHUB_CLIENT_SECRET" => "secret",
                "JWT_SECRET" => "0123456789abcdef0123456789abcdef",
                _ => return None,
            };
            Some(value.to_owned())
        }
    }

    #[test]
    fn urls_lose_their_last_slash_and_keep_their_path() {
        let config = Config::parse(settings(("", ""))).ok().unwrap();
        assert_eq!(config.origin, "https://osmynt.example");
        assert_eq!(config.github.api_url, "https://github.example/api/v3");
        assert!(config.is_https());
    }

    #[test]
    fn a_jwt_secret_of_less_than_32_bytes_is_refused_and_said_so() {
        for name in ["JWT_SECRET", "JWT_SECRET_PREVIOUS"] {
            let error = Config::parse(settings((name, "0123456789abcdef0123456789abcde"))).err().unwrap();
            assert!(error.starts_with(&format!("{name} has fewer than 32 bytes")), "{error}");
        }
    }

    #[test]
    fn a_setting_that_is_missing_empty_or_no_url_is_named() {
        for (name, value) in
            [("GITHUB_CLIENT_ID", ""), ("GITHUB_URL", "github.com"), ("ORIGIN", "https://a.example/?b")]
        {
            let error = Config::parse(settings((name, value))).err().unwrap();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
