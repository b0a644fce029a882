//! `mpkg run`

use miniapp_runtime::Compiler;

use crate::cli::{Engine, Run};
use crate::error::{Failure, Outcome};
use crate::ops::keys;
use crate::ops::run::{self, Call, Called, Choice, Plan};
use crate::output::{Page, Printer, View};

impl View for Called {
    /// The result alone: it is what whoever typed the call wants to pipe on. The rest was told on the way.
    fn human(&self, page: &mut Page) {
        page.block(&serde_json::to_string_pretty(&self.result).unwrap_or_default());
    }
}

pub(crate) fn run(args: Run, printer: Printer) -> Outcome {
    let choice = Choice::parse(&args.allow, &args.deny)?;
    let call = args.call.map(|method| call(method, args.params)).transpose()?;
    let trusts = args.trust.iter().map(|text| keys::trust(text)).collect::<Outcome<Vec<_>>>()?;
    let plan = Plan {
        file: args.file,
        trusts,
        signature: args.signature,
        choice,
        user: args.user,
        data: args.data,
        memory: args.memory.map(|mib| mib.saturating_mul(1 << 20)),
        engine: match args.engine {
            Engine::Auto => None,
            Engine::Cranelift => Some(Compiler::Cranelift),
            Engine::Winch => Some(Compiler::Winch),
            Engine::Pulley => Some(Compiler::Pulley),
        },
        call,
        events: args.events,
    };
    match run::run(&plan, printer)? {
        Some(called) => printer.result(&called),
        None => Ok(()),
    }
}

fn call(method: String, params: Option<String>) -> Outcome<Call> {
    let params = params.unwrap_or_else(|| "{}".to_owned());
    let wrong =
        |problem: String| Failure::usage(problem).hint("Quote it for the shell: --params '{\"id\": 1}'");
    match serde_json::from_str::<serde_json::Value>(&params) {
        Ok(value) if value.is_object() || value.is_array() => Ok(Call { method, params }),
        Ok(_) => Err(wrong("--params is neither a JSON object nor an array".to_owned())),
        Err(error) => Err(wrong(format!("--params is not JSON: {error}"))),
    }
}
