//! Patches between packages.

use mpkg_package::Digest;
use mpkg_registry_client::delta::{apply, make};

use crate::{check_refusal, seeds};

/// Any bytes as a patch, which makes the package that was asked for or nothing, and as a package, which comes out of
/// its own patch.
pub fn delta(data: &[u8]) {
    let (old, new) = (seeds::package(), seeds::next_package());
    for (before, after) in [(&old, &new), (&new, &old)] {
        match apply(before, data, Digest::of(after)) {
            Ok(made) => assert_eq!(&made, after, "another package was made"),
            Err(error) => {
                let code = error.code().expect("no machine is so small");
                check_refusal(code, &error.to_string(), None, 0);
            }
        }
    }
    let patch = make(&old, data).expect("it is short");
    assert_eq!(apply(&old, &patch, Digest::of(data)).as_deref(), Ok(data), "a patch makes something else");
}
