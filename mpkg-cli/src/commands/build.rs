//! `mpkg build`

use serde::Serialize;

use crate::cli::Build;
use crate::error::{Failure, Outcome};
use crate::ops::build::{self, Product, Toolchain};
use crate::ops::files::{self, Secrecy};
use crate::output::{Page, Printer, View};
use crate::progress::Progress;
use crate::{rules, text};

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    app_id: String,
    version: String,
    release_seq: u64,
    digest: String,
    size: u64,
    component_size: u64,
    files: usize,
    permissions: Vec<String>,
    optional_permissions: Vec<String>,
    tools: Vec<Tool>,
    warnings: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct Tool {
    name: String,
    version: String,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline("Built", &self.file);
        page.field("app", &format!("{} {} (release {})", self.app_id, self.version, self.release_seq));
        page.field("digest", &self.digest);
        page.field("size", &format!("{} in {}", text::size(self.size), text::count(self.files, "file")));
        page.field("component", &text::size(self.component_size));
        let optional = |name: &String| self.optional_permissions.contains(name);
        let names: Vec<String> = self
            .permissions
            .iter()
            .map(|name| if optional(name) { format!("{name} (optional)") } else { name.clone() })
            .collect();
        page.field("permissions", &if names.is_empty() { "none".to_owned() } else { names.join(", ") });
        let tools: Vec<String> =
            self.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
        page.field("tools", &tools.join(", "));
    }
}

pub(crate) fn run(args: Build, printer: Printer) -> Outcome {
    let toolchain = toolchain(args.toolchain)?;
    // A folder that is not there is better told before a build of a minute than after it.
    if let Some(out) = &args.out {
        files::check_target(out)?;
    }
    let progress = Progress::start(printer, "building");
    let product = build::project(&args.dir, &toolchain, &mut |line| progress.step(line));
    drop(progress);
    let product = product?;
    let out = match args.out {
        Some(out) => out,
        None => {
            let dist = args.dir.join("dist");
            std::fs::create_dir_all(&dist).map_err(|error| Failure::write(&dist, &error))?;
            let manifest = product.source.manifest();
            dist.join(format!("{}-{}.mpkg", manifest.app_id, manifest.version.name))
        }
    };
    files::write(&out, &product.package, Secrecy::Public, true)?;
    let warnings = product.source.findings(product.source.parsed.warnings.clone());
    printer.findings(&warnings);
    printer.result(&report(&product, out.display().to_string(), warnings.to_json()))
}

/// The folder that was named, or the user's own.
pub(super) fn toolchain(named: Option<std::path::PathBuf>) -> Outcome<Toolchain> {
    named.map(Toolchain::new).or_else(Toolchain::user_default).ok_or_else(|| {
        Failure::new(
            &rules::TOOLCHAIN_MISSING,
            crate::exit::Exit::Failed,
            "there is no home folder to keep tools in",
        )
        .hint("Pass --toolchain DIR, or set MPKG_TOOLCHAIN.")
    })
}

fn report(product: &Product, file: String, warnings: serde_json::Value) -> Report {
    let manifest = product.source.manifest();
    Report {
        file,
        app_id: manifest.app_id.to_string(),
        version: manifest.version.name.to_string(),
        release_seq: manifest.version.code,
        digest: format!("sha256:{}", product.digest.sha256),
        size: product.digest.size,
        component_size: product.component_size,
        files: product.files,
        permissions: manifest.req_permissions.iter().map(|permission| permission.name.to_string()).collect(),
        optional_permissions: manifest.mpkg.optional_permissions.iter().map(ToString::to_string).collect(),
        tools: product
            .tools
            .iter()
            .map(|(name, version)| Tool { name: name.clone(), version: version.clone() })
            .collect(),
        warnings,
    }
}
