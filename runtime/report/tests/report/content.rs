//! What a page says.

use crate::made::Made;
use swint_compiler::plan::Buffer;

/// The part of a page between the headings of two sections.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("<section id=\"{id}\"")).unwrap_or_else(|| panic!("no section {id}"));
    let rest = &page[start..];
    &rest[..rest.find("</section>").unwrap()]
}

#[test]
fn a_page_says_what_the_compiler_did() {
    let made = Made::new("timm_micro");
    let page = made.page();
    let before = &made.history.as_ref().unwrap().before;
    // Every op with its numbers: imported, quantized, compiled.
    let rewrites = section(&page, "rewrites");
    for (op, n) in before.op_counts() {
        let [imported, after] = [
            made.model.imported.get(op).copied().unwrap_or(0),
            made.module.graph.op_counts().get(op).copied().unwrap_or(0),
        ];
        let row = &rewrites[rewrites.find(&format!("<code>{op}</code>")).unwrap()..];
        let cells: Vec<usize> = row[..row.find("</tr>").unwrap()]
            .split("<td class=\"n\">")
            .skip(1)
            .map(|cell| cell.trim_start_matches("<span class=\"nil\">").split('<').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(cells, [imported, n, after], "{op}");
    }
    // Every launch, and every buffer at its place.
    let launches = &made.plan.launches;
    let kernels = section(&page, "kernels");
    for launch in launches {
        assert!(kernels.contains(&format!("{}{}", launch.kernel, launch.blueprint)), "{}", launch.kernel);
    }
    assert_eq!(section(&page, "timeline").matches("<rect").count(), launches.len());
    let arena = section(&page, "arena");
    assert_eq!(arena.matches("<rect").count(), launches.len());
    for (i, launch) in launches.iter().enumerate() {
        let Buffer::Arena { offset, .. } = launch.output else { panic!("{} is in the arena", launch.output) };
        let readers = launches.iter().enumerate().skip(i + 1).take_while(|(j, later)| {
            // Until another launch writes over it.
            launches[i + 1..*j].iter().all(|l| l.output != launch.output) && later.output != launch.output
                || later.inputs.contains(&launch.output)
        });
        let last = readers.filter(|(_, later)| later.inputs.contains(&launch.output)).map(|(j, _)| j).last();
        let last = if i + 1 == launches.len() { i } else { last.unwrap() };
        assert!(arena.contains(&format!(" at {offset}, launches {i} to {last}</title>")), "{i} to {last}");
    }
    // The block's program, in both forms.
    let block = section(&page, "block");
    assert!(
        block.contains("layers.0.blocks.0") && block.contains(">window_attention<")
            || block.contains("= window_attention")
    );
    assert!(block.contains("softmax") && block.contains("norm_linear"), "{block}");
}

#[test]
fn what_was_not_measured_says_how_it_would_be() {
    let mut made = Made::new("timm_micro");
    made.history = None;
    let page = made.page();
    for (id, hint) in
        [("accuracy", "--reference"), ("bench", "--bench"), ("timeline", "--measure"), ("block", "does not have")]
    {
        assert!(section(&page, id).contains(hint), "{id}");
    }
    let page = made.measured().page();
    assert!(section(&page, "bench").contains("onnxruntime 1.0") && section(&page, "accuracy").contains("equal"));
    assert!(section(&page, "timeline").contains("as measured on a device"));
}

#[test]
fn a_page_needs_nothing_else_and_is_always_the_same() {
    let made = Made::new("timm_micro").measured();
    let page = made.page();
    assert_eq!(page, made.page());
    let links = page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "");
    for bad in ["http", "src=", "url(", "@import", "<script", "<link", "<img", "NaN"] {
        assert!(!links.contains(bad), "{bad}: {}", &links[links.find(bad).unwrap().saturating_sub(80)..][..160]);
    }
}
