//! Finds the canister that a request is for, mostly by the host in its address.

use candid::Principal;
use url::Url;

/// The domains whose subdomains are canisters.
#[derive(Clone, Debug)]
pub struct Domains(Vec<String>);

/// The canister that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedCanister {
    pub canister: Principal,
    /// Whether the canister's responses are served without verification.
    pub is_raw: bool,
}

impl Domains {
    /// Returns these domains; `localhost` for `None`.
    pub fn new(domains: Option<Vec<String>>) -> Self {
        let mut domains = domains.unwrap_or_else(|| vec!["localhost".into()]);
        domains.iter_mut().for_each(|domain| domain.make_ascii_lowercase());
        Self(domains)
    }

    /// Returns the canister that a request is for: from its host, else from the parameter `canisterId`, else from the
    /// referring page; `None` if none of them names one.
    pub fn named_canister(
        &self,
        host: Option<&str>,
        query: Option<&str>,
        referrer: Option<&str>,
    ) -> Option<NamedCanister> {
        let from_referrer = || {
            let url = Url::parse(referrer?).ok()?;
            let named = self.canister_in_host(url.host_str()).or_else(|| canister_in_query(url.query()))?;
            Some(NamedCanister { is_raw: named.is_raw || self.is_raw_host(host), ..named })
        };
        let from_query =
            || Some(NamedCanister { is_raw: self.is_raw_host(host), ..canister_in_query(query)? });
        self.canister_in_host(host).or_else(from_query).or_else(from_referrer)
    }

    /// Returns the part of the host name before the domain; `None` if it is not below one of the domains.
    fn subdomain<'a>(&self, host: &'a str) -> Option<&'a str> {
        // A port may follow.
        let host = host.split(':').next()?;
        self.0.iter().find_map(|domain| host.strip_suffix(domain.as_str())?.strip_suffix('.'))
    }

    /// Returns whether the host is `raw.` and a domain, without a canister id.
    fn is_raw_host(&self, host: Option<&str>) -> bool {
        host.is_some_and(|host| self.subdomain(&host.to_ascii_lowercase()) == Some("raw"))
    }

    fn canister_in_host(&self, host: Option<&str>) -> Option<NamedCanister> {
        let host = host?.to_ascii_lowercase();
        let subdomain = self.subdomain(&host)?;
        let (id, is_raw) = match subdomain.strip_suffix(".raw") {
            Some(id) => (id, true),
            None => (subdomain, false),
        };
        Some(NamedCanister { canister: Principal::from_text(id).ok()?, is_raw })
    }
}

fn canister_in_query(query: Option<&str>) -> Option<NamedCanister> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    let (_, id) = pairs.find(|(name, _)| name == "canisterId")?;
    Some(NamedCanister { canister: Principal::from_text(id).ok()?, is_raw: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "lxzze-o7777-77777-aaaaa-cai";

    #[test]
    fn a_canister_is_named_in_three_ways() {
        let domains = Domains::new(None);
        let named = |is_raw| Some(NamedCanister { canister: Principal::from_text(ID).unwrap(), is_raw });
        for (host, is_raw) in [
            (format!("{ID}.localhost"), false),
            (format!("{ID}.localhost:8000"), false),
            (format!("{ID}.raw.LOCALHOST:1"), true),
        ] {
            assert_eq!(domains.named_canister(Some(&host), None, None), named(is_raw), "{host}");
        }
        let query = format!("a=b&canisterId={ID}");
        assert_eq!(domains.named_canister(Some("127.0.0.1:8000"), Some(&query), None), named(false));
        assert_eq!(domains.named_canister(Some("raw.localhost:8000"), Some(&query), None), named(true));
        let page = format!("http://127.0.0.1:8000/?{query}");
        assert_eq!(domains.named_canister(Some("127.0.0.1:8000"), None, Some(&page)), named(false));
        let page = format!("http://{ID}.localhost:8000/page");
        assert_eq!(domains.named_canister(Some("localhost:8000"), None, Some(&page)), named(false));
    }

    #[test]
    fn a_request_that_names_no_canister_has_none() {
        let domains = Domains::new(Some(vec!["example.org".into()]));
        for host in ["localhost", "example.org", "www.example.org", &format!("{ID}.localhost"), ""] {
            assert_eq!(domains.named_canister(Some(host), Some("canisterId=no"), Some("no")), None, "{host}");
        }
        assert!(domains.named_canister(Some(&format!("{ID}.example.org")), None, None).is_some());
    }
}
