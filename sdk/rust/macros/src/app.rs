//! From `impl App { #[method("…")] fn … }` to a dispatcher by method name.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, ReceiverKind, Result, ReturnType,
    Token, Type,
};

/// The notifications that a host sends. Others start with `ui.` and are the host's own.
const NOTIFICATIONS: [&str; 8] = [
    "lifecycle.launched",
    "lifecycle.shown",
    "lifecycle.hidden",
    "lifecycle.unloaded",
    "lifecycle.error",
    "events.message",
    "storage.changed",
    "timers.fired",
];

/// One handler that an attribute named.
struct Handler {
    name: LitStr,
    function: Ident,
    params: Option<Type>,
    returns: Returns,
    notification: bool,
}

/// What a handler gives back, as far as it can be read off its signature.
enum Returns {
    Nothing,
    Value,
    Result,
}

/// Expands `#[app]` on an impl block.
pub(crate) fn expand(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let log_panics = options(attributes)?;
    let mut block: ItemImpl = syn::parse2(item)?;
    if let Some((path, _)) = &block.trait_ {
        return Err(Error::new(path.span(), "#[app] goes on the struct's own impl block, not on a trait's"));
    }
    if !block.generics.params.is_empty() {
        return Err(Error::new(block.generics.span(), "a Mini App's struct cannot be generic"));
    }

    let mut handlers: Vec<Handler> = Vec::new();
    let mut errors: Option<Error> = None;
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        let result = take_names(function).and_then(|names| {
            names.into_iter().map(|(name, notification)| handler(function, name, notification)).collect()
        });
        let found: Result<Vec<Handler>> = result;
        // Every mistake in one run, not the first one only.
        match found {
            Ok(found) => handlers.extend(found),
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    for (at, handler) in handlers.iter().enumerate() {
        if handlers.iter().take(at).any(|earlier| earlier.name.value() == handler.name.value()) {
            let error =
                Error::new(handler.name.span(), format!("`{}` has a handler already", handler.name.value()));
            match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            }
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }
    if handlers.is_empty() {
        let message = "a Mini App needs at least one #[method(\"…\")] or #[on(\"…\")]";
        return Err(Error::new(Span::call_site(), message));
    }

    let app = &block.self_ty;
    let arms = handlers.iter().map(arm);
    let methods = handlers.iter().filter(|handler| !handler.notification).map(|handler| &handler.name);
    let start = log_panics.then(|| quote! { fn start() { ::mpkg_sdk::log::panics(); } });
    Ok(quote! {
        #block

        impl ::mpkg_sdk::App for #app {
            const METHODS: &'static [&'static str] = &[#(#methods),*];

            #start

            fn handle(
                &mut self,
                method: &str,
                params: &str,
            ) -> ::core::result::Result<::std::string::String, ::mpkg_sdk::Error> {
                match method {
                    #(#arms)*
                    _ => ::mpkg_sdk::dispatch::unknown(method, Self::METHODS),
                }
            }
        }

        #[cfg(target_family = "wasm")]
        const _: () = {
            ::mpkg_sdk::export_app!(#app);
        };

        // Natively nobody calls the app but its tests; without this the compiler would call it dead.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = || {
            let mut app = <#app as ::core::default::Default>::default();
            let _ = <#app as ::mpkg_sdk::App>::handle(&mut app, "", "");
        };
    })
}

/// `#[app]` or `#[app(log_panics)]`.
fn options(attributes: TokenStream) -> Result<bool> {
    let options = Punctuated::<Ident, Token![,]>::parse_terminated.parse2(attributes)?;
    for option in &options {
        if option != "log_panics" {
            return Err(Error::new(
                option.span(),
                format!("unknown option `{option}`; there is `log_panics`"),
            ));
        }
    }
    Ok(!options.is_empty())
}

/// Takes our attributes off `function`: the names it answers to, and whether each is a notification.
fn take_names(function: &mut ImplItemFn) -> Result<Vec<(LitStr, bool)>> {
    let mut names = Vec::new();
    let mut kept: Vec<Attribute> = Vec::new();
    for attribute in std::mem::take(&mut function.attrs) {
        if attribute.path().is_ident("method") {
            let name: LitStr = attribute.parse_args()?;
            check_method_name(&name)?;
            names.push((name, false));
        } else if attribute.path().is_ident("on") {
            let name: LitStr = attribute.parse_args()?;
            check_notification_name(&name)?;
            names.push((name, true));
        } else {
            kept.push(attribute);
        }
    }
    function.attrs = kept;
    Ok(names)
}

fn is_dotted_name(name: &str) -> bool {
    let segment = |segment: &str| {
        segment.starts_with(|first: char| first.is_ascii_alphabetic())
            && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    name.len() <= 128 && name.split('.').all(segment)
}

fn check_method_name(literal: &LitStr) -> Result<()> {
    let name = literal.value();
    if !is_dotted_name(&name) {
        let message =
            format!("`{name}` is no method name: write words of letters, digits, _ and - joined by dots");
        return Err(Error::new(literal.span(), message));
    }
    if name.starts_with("rpc.") {
        return Err(Error::new(literal.span(), "JSON-RPC keeps names that begin with `rpc.` for itself"));
    }
    let reserved = ["lifecycle.", "ui."].iter().any(|prefix| name.starts_with(prefix));
    if reserved || NOTIFICATIONS.contains(&name.as_str()) {
        let message = format!("`{name}` is a notification's name: use #[on(\"{name}\")]");
        return Err(Error::new(literal.span(), message));
    }
    Ok(())
}

fn check_notification_name(literal: &LitStr) -> Result<()> {
    let name = literal.value();
    if NOTIFICATIONS.contains(&name.as_str()) || (name.starts_with("ui.") && is_dotted_name(&name)) {
        return Ok(());
    }
    let message = format!("no host sends `{name}`; there are {} and `ui.…`", NOTIFICATIONS.join(", "));
    Err(Error::new(literal.span(), message))
}

fn handler(function: &ImplItemFn, name: LitStr, notification: bool) -> Result<Handler> {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new(
            token.span(),
            "a handler cannot be async: calls to the host return when they are done",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(signature.generics.span(), "a handler cannot be generic"));
    }
    let mut inputs = signature.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) if matches!(receiver.kind, ReceiverKind::Reference(..)) => {}
        Some(other) => return Err(Error::new(other.span(), "a handler takes `&self` or `&mut self` first")),
        None => {
            return Err(Error::new(signature.ident.span(), "a handler takes `&self` or `&mut self` first"));
        }
    }
    let params = match inputs.next() {
        Some(FnArg::Typed(argument)) => Some((*argument.ty).clone()),
        Some(other) => return Err(Error::new(other.span(), "only one `self`")),
        None => None,
    };
    if let Some(extra) = inputs.next() {
        let message = "a handler takes at most one value, its params: put them into one struct";
        return Err(Error::new(extra.span(), message));
    }
    let returns = match &signature.output {
        ReturnType::Default => Returns::Nothing,
        ReturnType::Type(_, ty) => match &**ty {
            Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result") => {
                Returns::Result
            }
            _ => Returns::Value,
        },
    };
    Ok(Handler { name, function: signature.ident.clone(), params, returns, notification })
}

/// One arm of the dispatcher. Spans are the handler's, so that a type that is not `Serialize` is shown there.
fn arm(handler: &Handler) -> TokenStream {
    let Handler { name, function, params, returns, .. } = handler;
    let call = match params {
        Some(ty) => quote_spanned! { ty.span() =>
            self.#function(::mpkg_sdk::dispatch::params::<#ty>(params)?)
        },
        None => quote! { self.#function() },
    };
    let span = function.span();
    let reply = match returns {
        Returns::Nothing => quote_spanned! { span => { #call; ::mpkg_sdk::dispatch::reply(&()) } },
        Returns::Value => quote_spanned! { span => ::mpkg_sdk::dispatch::reply(&#call) },
        Returns::Result => quote_spanned! { span => ::mpkg_sdk::dispatch::result(#call) },
    };
    quote! { #name => #reply, }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> Vec<String> {
        let item = source.parse().expect("tokens");
        let error = expand(TokenStream::new(), item).expect_err("should be refused");
        error.into_iter().map(|error| error.to_string()).collect()
    }

    #[test]
    fn names_every_mistake_at_once() {
        let errors = refused(
            r#"impl App {
                #[method("a b")] fn a(&self) {}
                #[on("lifecycle.launch")] fn b(&self) {}
                #[method("lifecycle.shown")] fn c(&self) {}
                #[method("x")] fn d() {}
                #[method("x")] async fn e(&self) {}
                #[method("x")] fn f(&self, a: u8, b: u8) {}
                #[method("x")] fn g<T>(&self, a: T) {}
                #[method("x")] fn h(self) {}
            }"#,
        );
        assert_eq!(errors.len(), 8, "{errors:#?}");
        assert!(errors[0].contains("no method name"), "{errors:#?}");
        assert!(errors[1].contains("lifecycle.launched"), "{errors:#?}");
        assert!(errors[2].contains("#[on("), "{errors:#?}");
    }

    #[test]
    fn refuses_two_handlers_of_one_name() {
        let errors = refused(r#"impl App { #[method("x")] fn a(&self) {} #[method("x")] fn b(&self) {} }"#);
        assert_eq!(errors, ["`x` has a handler already"]);
    }

    #[test]
    fn refuses_an_app_without_handlers_traits_and_generics() {
        assert!(refused("impl App { fn a(&self) {} }")[0].contains("at least one"));
        assert!(refused(r#"impl Tr for App { #[method("x")] fn a(&self) {} }"#)[0].contains("trait"));
        assert!(refused(r#"impl<T> App<T> { #[method("x")] fn a(&self) {} }"#)[0].contains("generic"));
    }

    #[test]
    fn keeps_other_attributes_and_takes_its_own() {
        let item =
            r#"impl App { #[inline] #[method("x.y")] fn a(&self) -> u8 { 1 } }"#.parse().expect("tokens");
        let out = expand(TokenStream::new(), item).expect("expands").to_string();
        assert!(out.contains("# [inline]") && !out.contains("# [method"), "{out}");
    }

    #[test]
    fn knows_its_options() {
        assert!(options("log_panics".parse().expect("tokens")).expect("an option"));
        assert!(options("quiet".parse().expect("tokens")).is_err());
    }
}
