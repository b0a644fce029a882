//! The compiler flags that keep this machine's paths out of the code: panic messages name source files.

use std::ffi::OsString;
use std::path::Path;

use super::compiler::Compiler;
use super::metadata::Project;

/// One `--remap-path-prefix` per folder that sources come from. The last one that fits wins.
pub(super) fn remap(compiler: &Compiler, project: &Project) -> Vec<OsString> {
    // With rustup's rust-src the standard library's paths are real ones. Without, they read like this.
    let mut pairs = vec![
        (compiler.sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{}", compiler.commit_hash)),
        (project.target.clone(), "/target".to_owned()),
    ];
    pairs.extend(project.fetched.iter().map(|dir| (dir.clone(), "/deps".to_owned())));
    pairs.push((project.workspace.clone(), "/app".to_owned()));
    for dir in &project.outside {
        pairs.push((dir.clone(), format!("/app/{}", relative(&project.workspace, dir))));
    }
    // A folder inside another one must come later. Sorting is stable: the order above settles the rest.
    pairs.sort_by_key(|(dir, _)| dir.components().count());
    pairs
        .into_iter()
        .map(|(dir, name)| {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(dir);
            flag.push("=");
            flag.push(name);
            flag
        })
        .collect()
}

/// `to`, as seen from `from`: the same wherever the two lie together.
pub(super) fn relative(from: &Path, to: &Path) -> String {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    up.chain(down).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_workspace() {
        let relative = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(relative("/a/sdk/rust", "/a/examples/x"), "../../examples/x");
        assert_eq!(relative("/a", "/a/b/c"), "b/c");
        assert_eq!(relative("/a", "/a"), "");
    }
}
