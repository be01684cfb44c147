//! Finds the canister that a request is for.

use candid::Principal;
use url::Url;

/// The domains whose subdomains are canisters.
#[derive(Clone, Debug)]
pub struct Domains(Vec<String>);

impl Domains {
    /// Returns these domains, or `localhost` alone.
    pub fn new(domains: Option<Vec<String>>) -> Self {
        let mut domains = domains.unwrap_or_else(|| vec!["localhost".into()]);
        domains.iter_mut().for_each(|domain| domain.make_ascii_lowercase());
        Self(domains)
    }

    /// Returns the canister that a request names: in its host, as the parameter `canisterId`, or by the page
    /// that it comes from.
    pub fn canister(
        &self,
        host: Option<&str>,
        query: Option<&str>,
        referrer: Option<&str>,
    ) -> Option<Principal> {
        let by_referrer = || {
            let url = Url::parse(referrer?).ok()?;
            self.by_host(url.host_str()).or_else(|| by_query(url.query()))
        };
        self.by_host(host).or_else(|| by_query(query)).or_else(by_referrer)
    }

    fn by_host(&self, host: Option<&str>) -> Option<Principal> {
        let host = host?.to_ascii_lowercase();
        // A port may follow.
        let host = host.split(':').next()?;
        let labels = self.0.iter().find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.'))?;
        let id = labels.strip_suffix(".raw").unwrap_or(labels);
        Principal::from_text(id).ok()
    }
}

fn by_query(query: Option<&str>) -> Option<Principal> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    let (_, id) = pairs.find(|(name, _)| name == "canisterId")?;
    Principal::from_text(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "lxzze-o7777-77777-aaaaa-cai";

    #[test]
    fn a_canister_is_named_in_three_ways() {
        let domains = Domains::new(None);
        let id = Some(Principal::from_text(ID).unwrap());
        for host in
            [format!("{ID}.localhost"), format!("{ID}.localhost:8000"), format!("{ID}.raw.LOCALHOST:1")]
        {
            assert_eq!(domains.canister(Some(&host), None, None), id, "{host}");
        }
        let query = format!("a=b&canisterId={ID}");
        assert_eq!(domains.canister(Some("127.0.0.1:8000"), Some(&query), None), id);
        let page = format!("http://127.0.0.1:8000/?{query}");
        assert_eq!(domains.canister(Some("127.0.0.1:8000"), None, Some(&page)), id);
        let page = format!("http://{ID}.localhost:8000/page");
        assert_eq!(domains.canister(Some("localhost:8000"), None, Some(&page)), id);
    }

    #[test]
    fn what_names_none_is_none() {
        let domains = Domains::new(Some(vec!["example.org".into()]));
        for host in ["localhost", "example.org", "www.example.org", &format!("{ID}.localhost"), ""] {
            assert_eq!(domains.canister(Some(host), Some("canisterId=no"), Some("no")), None, "{host}");
        }
        assert!(domains.canister(Some(&format!("{ID}.example.org")), None, None).is_some());
    }
}
