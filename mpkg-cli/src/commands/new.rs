//! `mpkg new`

use dialoguer::{Input, Select};
use mpkg_manifest::AppId;
use serde::Serialize;

use crate::cli::{New, Template};
use crate::error::{Failure, Outcome, shell};
use crate::exit::Exit;
use crate::ops::new::{self, Project};
use crate::output::{Page, Printer, View};
use crate::rules;

/// The name of an app, as manifests have it.
type Name = mpkg_manifest::Text<64>;

#[derive(Debug, Serialize)]
struct Created {
    dir: String,
    template: &'static str,
    app_id: String,
    name: String,
    files: Vec<String>,
    next_steps: Vec<String>,
}

impl View for Created {
    fn human(&self, page: &mut Page) {
        let own = self.files.iter().filter(|file| !file.starts_with("sdk/"));
        page.headline("Created", &format!("{} ({}) in {}", self.name, self.app_id, self.dir));
        own.for_each(|file| page.line(&format!("  {file}")));
        page.line("  sdk/");
        page.heading("Next steps");
        self.next_steps.iter().for_each(|step| page.command(step));
    }
}

pub(crate) fn run(args: New, printer: Printer) -> Outcome {
    new::refuse_used(&args.dir)?;
    let template = match args.template {
        Some(template) => template,
        None if printer.can_ask() => ask_template()?,
        None => return Err(missing("--template", "rust|js")),
    };
    let name = args.name.unwrap_or_else(|| new::name_from(&args.dir));
    let id = match args.id {
        Some(id) => id,
        None if printer.can_ask() => ask_id(&args.dir)?,
        None => return Err(missing("--id", "com.example.my-app")),
    };
    let id: AppId = id.parse().map_err(|error| bad_id(&id, &error))?;
    if let Err(error) = name.parse::<Name>() {
        return Err(Failure::new(
            &rules::NAME,
            Exit::Usage,
            format!("this cannot be the app's name: {error}"),
        )
        .hint("Pass another: --name \"My app\""));
    }
    let project = Project { dir: args.dir, template, id: id.to_string(), name };
    let files = project.create()?;
    let next_steps = next_steps(&project);
    printer.result(&Created {
        dir: project.dir.display().to_string(),
        template: if template == Template::Rust { "rust" } else { "js" },
        app_id: project.id,
        name: project.name,
        files,
        next_steps,
    })
}

/// Commands that can be typed as they stand.
fn next_steps(project: &Project) -> Vec<String> {
    let package = format!("{}.mpkg", project.short_name());
    let test: &[&str] = match project.template {
        Template::Rust => &["cargo test"],
        Template::Js => &["npm install", "npm test"],
    };
    let rest = [
        format!("mpkg build -o {package}"),
        "mpkg keys generate --out release.pem".to_owned(),
        format!("mpkg sign {package} --key release.pem"),
        format!("mpkg verify {package} --trust release.pem.root.json"),
        format!(
            "mpkg run {package} --trust release.pem.root.json --allow all --call notes.add --params '{{\"text\":\"hello\"}}'"
        ),
    ];
    let first = std::iter::once(format!("cd {}", shell(&project.dir)));
    first.chain(test.iter().map(|step| (*step).to_owned())).chain(rest).collect()
}

fn ask_template() -> Outcome<Template> {
    let choice = Select::new().with_prompt("Language").items(["Rust", "JavaScript"]).default(0).interact();
    match choice {
        Ok(0) => Ok(Template::Rust),
        Ok(_) => Ok(Template::Js),
        Err(_) => Err(missing("--template", "rust|js")),
    }
}

fn ask_id(dir: &std::path::Path) -> Outcome<String> {
    let folder = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let answer = Input::<String>::new()
        .with_prompt("App id (reverse DNS)")
        .default(format!("com.example.{folder}"))
        .validate_with(|id: &String| id.parse::<AppId>().map(|_| ()))
        .interact_text();
    answer.map_err(|_| missing("--id", "com.example.my-app"))
}

fn missing(flag: &str, value: &str) -> Failure {
    Failure::usage(format!("{flag} is missing, and there is no terminal to ask on"))
        .hint(format!("Pass it: {flag} {value}"))
}

fn bad_id(id: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new(&rules::NAME, Exit::Usage, format!("`{id}` is no app id: {error}"))
        .hint("Use reverse DNS, such as com.example.stock-alert.")
}
