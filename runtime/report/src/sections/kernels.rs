//! The launches, one a row.

use super::table;
use crate::{
    Report,
    launches::{Row, shape},
    page::Section,
    text,
};
use maud::{Markup, html};
use std::collections::BTreeMap;

pub fn section(report: &Report<'_>, rows: &[Row<'_>]) -> Section {
    let kernels = report.plan.kernels().len();
    let body = html! {
        p {
            (text::plural(rows.len(), "launch", "launches")) " of " (text::plural(kernels, "kernel", "different kernels"))
            ", in order. Operations are multiply-adds of 8-bit integers, and all others; bytes are those that a launch must move, each "
            "once. The estimate is "
            code { "launch + max(bytes ÷ bandwidth, operations ÷ rate)" } ", with " (text::time(report.target.launch / 1e6))
            " to launch a kernel."
        }
        (sums(report, rows))
        details open[rows.len() <= 100] {
            summary { "All " (text::plural(rows.len(), "launch", "launches")) }
            (all(report, rows))
        }
    };
    Section { id: "kernels", title: "Kernels", body }
}

/// By op.
fn sums(report: &Report<'_>, rows: &[Row<'_>]) -> Markup {
    let mut by_op: BTreeMap<&str, Vec<&Row<'_>>> = BTreeMap::new();
    rows.iter().for_each(|row| by_op.entry(row.op).or_default().push(row));
    let all: f64 = rows.iter().map(Row::us).sum();
    let mut sums: Vec<(&str, Vec<&Row<'_>>, f64)> = by_op
        .into_iter()
        .map(|(op, rows)| {
            let us = rows.iter().map(|row| row.us()).sum();
            (op, rows, us)
        })
        .collect();
    sums.sort_by(|a, b| b.2.total_cmp(&a.2));
    let time = if report.profile.is_some() { "Measured" } else { "Estimated" };
    let head = [
        ("Op", false),
        ("Launches", true),
        ("int8 multiply-adds", true),
        ("Other operations", true),
        ("Bytes", true),
        (time, true),
        ("Share", true),
    ];
    table(
        "Launches by op, the longest first",
        &head,
        html! {
            @for (op, rows, us) in &sums {
                tr {
                    th scope="row" { code { (op) } }
                    td.n { (rows.len()) }
                    td.n { (text::count(rows.iter().map(|r| r.work.int8 as f64).sum())) }
                    td.n { (text::count(rows.iter().map(|r| r.other()).sum())) }
                    td.n { (text::bytes(rows.iter().map(|r| r.work.bytes as f64).sum())) }
                    td.n { (text::time(*us)) }
                    td.n { (format!("{:.1}", us / all.max(f64::MIN_POSITIVE) * 100.0)) " %" }
                }
            }
        },
    )
}

fn all(report: &Report<'_>, rows: &[Row<'_>]) -> Markup {
    let mut head = vec![
        ("#", true),
        ("Module", false),
        ("Op", false),
        ("From", false),
        ("To", false),
        ("int8", true),
        ("Other", true),
        ("Bytes", true),
        ("Estimated", true),
        ("Waits for", false),
    ];
    if report.profile.is_some() {
        head.insert(9, ("Measured", true));
    }
    head.push(("Kernel and blueprint", false));
    table(
        "Every launch: operations, bytes, time",
        &head,
        html! {
            @for row in rows {
                tr {
                    th.n scope="row" { (row.index) }
                    td { (text::name(&row.module)) }
                    td { code { (row.op) } }
                    td { code { (row.from) } }
                    td { code { (shape(row.to)) } }
                    td.n { (text::count(row.work.int8 as f64)) }
                    td.n { (text::count(row.other())) }
                    td.n { (text::bytes(row.work.bytes as f64)) }
                    td.n { (text::time(row.estimated)) }
                    @if report.profile.is_some() {
                        td.n { @if let Some(us) = row.measured { (text::time(us)) } @else { "–" } }
                    }
                    td { (row.bound.name()) }
                    td { code { (row.launch.kernel) (row.launch.blueprint) } }
                }
            }
        },
    )
}
