//! How far off the modules' results are from the float model's.

use super::table;
use crate::{
    Accuracy, ModuleAccuracy, Report,
    page::Section,
    svg::{Axis, WIDTH, columns, fit, plot, px},
    text,
};
use maud::{Markup, html};

const LEFT: f64 = 190.0;
const RIGHT: f64 = WIDTH - 70.0;
const TOP: f64 = 10.0;
const LINE: f64 = 22.0;

pub fn section(report: &Report<'_>) -> Section {
    let body = match report.accuracy {
        Some(accuracy) => measured(accuracy),
        None => html! {
            p.note {
                "Not compared. Compile the same description with " code { "--precision f32 -o F.swint" } " and give "
                code { "swint report M.swint --reference F.swint --input PICTURES" }
                " to see every module's results against the float model's. A model compiled with " code { "--fuse none" }
                " has all modules' results; kernels hide some."
            }
        },
    };
    Section { id: "accuracy", title: "Accuracy by module", body }
}

fn measured(accuracy: &Accuracy) -> Markup {
    let modules = &accuracy.modules;
    let head = [("Module", false), ("SQNR in dB", true), ("Cosine", true), ("Largest difference", true)];
    html! {
        p {
            "Results of " (text::plural(modules.len(), "module", "modules")) " on " (text::plural(accuracy.inputs, "input", "inputs"))
            " against those of " code { (text::name(&accuracy.reference)) }
            ", in the network's order. SQNR is 10 log₁₀(Σ signal² ÷ Σ difference²); 6 dB are a bit."
        }
        @if !modules.is_empty() { (drawing(modules)) }
        (table("Every module against the float model", &head, html! {
            @for module in modules {
                tr {
                    th scope="row" { (text::name(&module.name)) }
                    td.n { (decibels(module.sqnr_db)) }
                    td.n { (format!("{:.6}", module.cosine)) }
                    td.n { (text::significant(module.max_abs)) }
                }
            }
        }))
        @if !accuracy.missing.is_empty() {
            p.note {
                "Not in the compiled model, where kernels hide them: "
                @for (i, name) in accuracy.missing.iter().enumerate() { @if i > 0 { ", " } code { (text::name(name)) } }
                ". " code { "--fuse none" } " keeps them."
            }
        }
    }
}

fn decibels(db: f64) -> String {
    if db == f64::INFINITY { "equal".to_owned() } else { format!("{db:.2}") }
}

fn drawing(modules: &[ModuleAccuracy]) -> Markup {
    let finite = || modules.iter().map(|m| m.sqnr_db).filter(|db| db.is_finite());
    let high = finite().fold(10.0, f64::max);
    let low = finite().fold(0.0, f64::min);
    let axis = Axis::linear(low, high * 1.02, LEFT, RIGHT);
    let bottom = TOP + LINE * modules.len() as f64;
    let drawing = html! {
        (columns(&axis, TOP, bottom, |db| format!("{db:.0} dB")))
        @for (i, module) in modules.iter().enumerate() {
            @let y = TOP + LINE * (i as f64 + 0.5);
            // What is equal has no noise: its line reaches the end.
            @let at = axis.at(if module.sqnr_db.is_nan() { low } else { module.sqnr_db });
            text.label x=(px(LEFT - 10.0)) y=(px(y + 4.0)) text-anchor="end" { (fit(&module.name, LEFT - 20.0)) }
            line.lollipop x1=(px(LEFT)) x2=(px(at)) y1=(px(y)) y2=(px(y)) {}
            circle.mark.c1 cx=(px(at)) cy=(px(y)) r="5" {
                title { (text::name(&module.name)) ": " (decibels(module.sqnr_db)) ", cosine " (format!("{:.6}", module.cosine)) }
            }
            text.tick x=(px(at + 10.0)) y=(px(y + 4.0)) { (decibels(module.sqnr_db)) }
        }
    };
    let worst = modules.iter().min_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    let description = worst
        .map_or_else(String::new, |m| format!("The worst is {} with {} dB.", text::name(&m.name), decibels(m.sqnr_db)));
    html! {
        figure {
            (plot("accuracy-plot", "Signal to quantization noise by module", &description, bottom + 26.0, drawing))
            figcaption { "Signal to quantization noise, the network's first module first. Further right is better." }
        }
    }
}
