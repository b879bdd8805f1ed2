//! What a browser makes of a page.

use crate::{
    chromium::{Browser, find},
    made::Made,
};
use serde_json::{Value as Json, json};
use std::{fs, path::Path};

const PROBE: &str = include_str!("probe.js");

/// Sizes of windows: a desk, a phone.
const WINDOWS: [(u32, u32); 2] = [(1280, 900), (360, 800)];

/// Opens a page in every size and scheme, and checks what holds for all pages; what the last was.
fn check(browser: &mut Browser, page: &str, folder: &Path) -> Json {
    let file = folder.join("report.html");
    fs::write(&file, page).unwrap();
    let mut probed = Json::Null;
    for window in WINDOWS {
        for dark in [false, true] {
            browser.open(&file, window, dark);
            probed = browser.evaluate(PROBE);
            let at = format!("{window:?}, dark: {dark}: {probed:#}");
            assert_eq!(browser.complaints(), [] as [String; 0], "{at}");
            assert_eq!(probed["window"], window.0, "{at}");
            assert!(probed["width"].as_u64().unwrap() <= u64::from(window.0), "it scrolls sideways, {at}");
            for none in ["skipped", "bare", "unnamed", "dead", "scripts", "stray", "odd"] {
                assert_eq!(probed[none], 0, "{none}, {at}");
            }
            for none in ["twice", "faint", "overlapping", "outside"] {
                assert_eq!(probed[none], json!([]), "{none}, {at}");
            }
        }
    }
    probed
}

#[test]
fn a_page_is_read_on_a_desk_and_on_a_phone_by_day_and_by_night() {
    let Some(program) = find() else { return };
    let (mut browser, folder) = (Browser::start(&program), tempfile::tempdir().unwrap());
    let made = Made::new("timm_micro");
    let launches = made.plan.launches.len();
    let plain = check(&mut browser, &made.page(), folder.path());
    let plots = ["ops-title", "timeline-title", "roofline-title", "arena-title"];
    assert_eq!(plain["plots"], json!(plots.map(|id| id.replace("-title", "-plot-title"))));
    assert_eq!(plain["headings"].as_array().unwrap().len(), 9);
    let full = check(&mut browser, &made.measured().page(), folder.path());
    assert_eq!(full["plots"].as_array().unwrap().len(), 6, "{full:#}");
    // Model, ops, rules, two programs, two of kernels, accuracy, benchmarks.
    assert_eq!(full["tables"], 9, "{full:#}");
    assert!(full["marks"].as_u64().unwrap() as usize > 3 * launches);
}

/// Names come from files of others.
#[test]
fn names_cannot_become_markup() {
    const EVIL: &str =
        "</style></title></svg></section><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\0";
    let mut made = Made::new("timm_micro").measured();
    for text in [&mut made.model.name, &mut made.model.file, &mut made.model.precision, &mut made.model.activation] {
        *text = EVIL.into();
    }
    made.model.preprocess = Some(EVIL.into());
    made.model.imported.insert(EVIL.into(), 3);
    made.model.rules.insert(EVIL.into(), 3);
    made.module.graph.name = EVIL.into();
    made.target.name = EVIL.into();
    made.target.device = EVIL.repeat(10);
    made.profile.as_mut().unwrap().device = EVIL.into();
    for graph in [&mut made.module.graph, &mut made.planned, &mut made.history.as_mut().unwrap().before] {
        graph.nodes.iter_mut().flat_map(|n| &mut n.locs).for_each(|loc| *loc = format!("{loc}.blocks.{EVIL}").into());
        graph.consts.iter_mut().for_each(|c| c.name = format!("{EVIL}.{}", c.name).into());
    }
    let parts = &mut made.history.as_mut().unwrap().parts;
    parts
        .iter_mut()
        .filter_map(|p| p.explanation.as_mut())
        .flat_map(|e| &mut e.steps)
        .for_each(|s| s.rule = EVIL.into());
    let accuracy = made.accuracy.as_mut().unwrap();
    accuracy.reference = EVIL.into();
    accuracy.missing.push(EVIL.into());
    accuracy.modules.iter_mut().for_each(|m| m.name.push_str(EVIL));
    accuracy.modules[0].cosine = f64::NAN;
    accuracy.modules[1].sqnr_db = f64::NAN;
    for bench in &mut made.benches {
        for text in [&mut bench.tool, &mut bench.model, &mut bench.device, &mut bench.host, &mut bench.command] {
            text.push_str(EVIL);
        }
        bench.results[0].warnings.push(EVIL.into());
        bench.results[1].images_per_s = f64::INFINITY;
        bench.results[1].median = f64::NAN;
    }
    let page = made.page();
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\0') && !page.contains('\u{202e}'));
    let Some(program) = find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let probed = check(&mut Browser::start(&program), &page, folder.path());
    assert_eq!(probed["headings"].as_array().unwrap().len(), 9);
}
