//! Why an app needs a permission, in the language of whoever is asked.

use super::Language;

/// A reason in several languages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// The one beside the permission, in the manifest's language.
    pub(super) own: Option<(Option<Language>, String)>,
    /// Those of `mpkg.reasons`.
    pub(super) translated: Vec<(Language, String)>,
}

impl Reasons {
    /// The reason to show to someone who reads `language`, and the language it is in as far as the manifest tells:
    /// the nearest one by RFC 4647 lookup, else the manifest's own.
    ///
    /// ```
    /// # let source = br#"{
    /// #   "app_id": "org.example.a", "name": "A", "version": {"code": 1, "name": "1.0.0"}, "lang": "en-GB",
    /// #   "platform_version": {"min_code": 1}, "icons": [{"src": "i.png"}], "pages": ["p"],
    /// #   "req_permissions": [{"name": "cart.read", "reason": "To show your basket"}],
    /// #   "mpkg": {"component": "app.wasm", "abi": 1, "reasons": {
    /// #     "de": {"cart.read": "Um den Warenkorb zu zeigen"}, "en": {"cart.read": "To show your cart"}}}
    /// # }"#;
    /// let manifest = mpkg_manifest::Manifest::parse(source).unwrap().manifest;
    /// let reasons = manifest.reasons("cart.read");
    /// let read = |language: &str| reasons.pick(language.parse().ok().as_ref()).unwrap().0;
    /// assert_eq!(read("de-AT"), "Um den Warenkorb zu zeigen");
    /// assert_eq!(read("en-US"), "To show your cart");
    /// assert_eq!(read("en-GB"), "To show your basket");
    /// assert_eq!(read("fr"), "To show your basket");
    /// ```
    #[must_use]
    pub fn pick(&self, language: Option<&Language>) -> Option<(&str, Option<&Language>)> {
        let own = self.own.as_ref().map(|(language, text)| (text.as_str(), language.as_ref()));
        let translated = self.translated.iter().map(|(language, text)| (text.as_str(), Some(language)));
        let known: Vec<_> = own.into_iter().chain(translated).filter(|(_, known)| known.is_some()).collect();
        let tags = known.iter().filter_map(|(_, known)| known.map(Language::as_str));
        let nearest =
            language.and_then(|language| language.lookup(tags)).and_then(|at| known.get(at).copied());
        nearest.or(own)
    }
}
