//! `config.url`, in the forms of node_redis 2.x and of the `redis`/`rediss` URI schemes
//! (<https://www.iana.org/assignments/uri-schemes/prov/redis>).

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// What a URL says. What it does not say is left to the other options.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FromUrl {
    pub path: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: Option<u32>,
    pub tls: bool,
}

impl FromUrl {
    /// Errors do not quote the URL: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("//") {
            return Self::parse(&format!("redis:{text}"));
        }
        if text.starts_with('/') {
            return Ok(Self { path: Some(text.into()), ..Self::default() });
        }
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        let mut parsed = match url.scheme() {
            "unix" | "redis+unix" => Self { path: Some(decode(url.path())?), ..Self::default() },
            scheme @ ("redis" | "rediss") => {
                if url.cannot_be_a_base() || !text.contains("//") {
                    return Err("needs two slashes after its scheme: redis://host".into());
                }
                Self { tls: scheme == "rediss", ..Self::of_authority(&url)? }
            }
            scheme => return Err(format!("has the scheme {scheme:?}; redis, rediss and unix are known")),
        };
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => {
                    let database = database(&value)?;
                    if parsed.database.is_some_and(|other| other != database) {
                        return Err("names two different databases".into());
                    }
                    parsed.database = Some(database);
                }
                "password" => parsed.password = Some(value.into_owned()),
                _ => return Err(format!("has an option {name:?}; db and password are known")),
            }
        }
        Ok(parsed)
    }

    fn of_authority(url: &Url) -> Result<Self, String> {
        let path = decode(url.path().trim_start_matches('/'))?;
        Ok(Self {
            // The scheme is none that the parser knows, so an address comes as the text of a domain.
            host: match url.host() {
                Some(Host::Ipv6(address)) => Some(address.to_string()),
                Some(host) => Some(decode(&host.to_string())?),
                None => None,
            },
            port: url.port(),
            username: Some(decode(url.username())?).filter(|name| !name.is_empty()),
            password: url.password().map(decode).transpose()?.filter(|password| !password.is_empty()),
            database: if path.is_empty() { None } else { Some(database(&path)?) },
            ..Self::default()
        })
    }
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "has an escape that is not UTF-8".into())
}

fn database(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "names a database that is not a whole number from 0 on".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_url_is_read() {
        let url = FromUrl::parse("rediss://us%40er:p%3Ass@redis.example:7000/3").unwrap();
        let expected = FromUrl {
            path: None,
            host: Some("redis.example".into()),
            port: Some(7000),
            username: Some("us@er".into()),
            password: Some("p:ss".into()),
            database: Some(3),
            tls: true,
        };
        assert_eq!(url, expected);
    }

    #[test]
    fn the_forms_of_node_redis_are_read() {
        let host = |text: &str| FromUrl::parse(text).unwrap().host;
        assert_eq!(host("redis://127.0.0.1"), Some("127.0.0.1".into()));
        assert_eq!(host("//localhost:7000"), Some("localhost".into()));
        assert_eq!(host("redis://[::1]:7000"), Some("::1".into()));
        assert_eq!(FromUrl::parse("redis://:secret@h?db=2").unwrap().password, Some("secret".into()));
        assert_eq!(FromUrl::parse("redis://h?db=2&password=x").unwrap().database, Some(2));
        for path in ["/run/redis.sock", "unix:///run/redis.sock", "unix:/run/redis.sock"] {
            assert_eq!(FromUrl::parse(path).unwrap().path, Some("/run/redis.sock".into()), "{path}");
        }
    }

    #[test]
    fn what_is_no_redis_url_is_refused_without_quoting_it() {
        for text in [
            "redis:secret",
            "http://secret",
            "secret",
            "redis://h/secret",
            "redis://h/1?db=2",
            "redis://h?secret=1x",
            "redis://:secret@h:99999",
        ] {
            let problem = FromUrl::parse(text).unwrap_err();
            assert!(!problem.contains("secret@") && !problem.contains("1x"), "{problem}");
        }
    }
}
