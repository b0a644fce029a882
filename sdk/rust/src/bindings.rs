//! What wit-bindgen makes of `bridge.wit`.
//!
//! The path is relative to this crate: `sdk/wit` beside `sdk/rust`, here and in a project made by `mpkg new`.

#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "mini-app",
    pub_export_macro: true,
    default_bindings_module: "mpkg_sdk::bindings",
    export_macro_name: "export_component",
});

impl From<mpkg::bridge::types::RpcError> for crate::RpcError {
    fn from(error: mpkg::bridge::types::RpcError) -> Self {
        Self { code: error.code, message: error.message, data: error.data }
    }
}

impl From<crate::RpcError> for mpkg::bridge::types::RpcError {
    fn from(error: crate::RpcError) -> Self {
        Self { code: error.code, message: error.message, data: error.data }
    }
}

/// Makes the component's one export of an app's type. Used by `#[app]`.
#[doc(hidden)]
#[macro_export]
macro_rules! export_app {
    ($app:ty) => {
        ::std::thread_local! {
            static APP: ::core::cell::RefCell<::core::option::Option<$app>> =
                const { ::core::cell::RefCell::new(::core::option::Option::None) };
        }

        struct Component;

        impl $crate::bindings::exports::mpkg::bridge::app::Guest for Component {
            fn handle(
                method: ::std::string::String,
                params: ::std::string::String,
            ) -> ::core::result::Result<
                ::std::string::String,
                $crate::bindings::mpkg::bridge::types::RpcError,
            > {
                APP.with_borrow_mut(|app| {
                    let app = app.get_or_insert_with(|| {
                        <$app as $crate::App>::start();
                        <$app as ::core::default::Default>::default()
                    });
                    <$app as $crate::App>::handle(app, &method, &params)
                })
                .map_err(|error| $crate::RpcError::from(error).into())
            }
        }

        $crate::bindings::export_component!(Component with_types_in $crate::bindings);
    };
}
