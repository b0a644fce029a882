//! `benchmarks BENCH.json TABLE.md`: puts the table of the last run between a page's marks.

#![allow(missing_docs)]

use std::fs;
use std::path::PathBuf;

use mpkg_tests::bench::{Row, table};

const BEGIN: &str = "<!-- table: make bench -->";
const END: &str = "<!-- end of table -->";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(figures), Some(page)) = (arguments.next(), arguments.next()) else {
        return Err("usage: benchmarks BENCH.json TABLE.md".into());
    };
    let rows: Vec<Row> = serde_json::from_slice(&fs::read(figures)?)?;
    let text = fs::read_to_string(&page)?;
    let (Some(from), Some(to)) = (text.find(BEGIN), text.find(END)) else {
        return Err(format!("{} has no place for a table", page.display()).into());
    };
    let (before, after) = (text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
    fs::write(&page, format!("{before}{BEGIN}\n\n{}\n{after}", table(&rows)))?;
    Ok(())
}
