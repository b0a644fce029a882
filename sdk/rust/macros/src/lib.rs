//! The attribute that makes a Mini App of a struct. Documented where it is used: `mpkg_sdk::app`.

use proc_macro::TokenStream;

mod app;

/// See `mpkg_sdk::app`.
#[proc_macro_attribute]
pub fn app(attributes: TokenStream, item: TokenStream) -> TokenStream {
    app::expand(attributes.into(), item.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}
