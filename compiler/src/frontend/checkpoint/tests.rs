use super::*;
use safetensors::{SafeTensors, tensor::TensorView};
use std::io::Write as _;
use swint_ir::{Data, random::Rng};

/// A file of this header and so many bytes.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

/// An entry of a header: `"NAME":{…}`.
fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

/// A header of these entries.
fn header(entries: &[String]) -> String {
    format!("{{{}}}", entries.join(","))
}

fn error(bytes: &[u8]) -> String {
    let error = Checkpoint::from_bytes(bytes).unwrap_err().to_string();
    let message = error.strip_prefix("not a readable safetensors file: ").unwrap_or_else(|| panic!("{error}"));
    assert!(!message.contains(char::is_control), "{message:?}");
    message.to_owned()
}

#[test]
fn every_lie_of_a_header_is_named() {
    let a = || entry("a", "F32", "[2]", 0, 8);
    let with = |other: String| header(&[a(), other]);
    let one = |name: &str| header(&[entry(name, "F32", "[2]", 0, 8)]);
    let raw = |text: &str| format!(r#"{{"a":{text}}}"#);
    let cases: Vec<(String, usize, &str)> = vec![
        (with(entry("a", "F32", "[3]", 8, 20)), 20, "up to offset 65: tensor \"a\": there are two of this name"),
        (one(r"x\u0000y"), 8, r#"tensor "x\0y": its name has the control character '\0' at byte 1"#),
        (one(r"\u001b[31mred"), 8, r#"tensor "\u{1b}[31mred": its name has the control character '\u{1b}' at byte 0"#),
        (one("../../etc/passwd"), 8, "\"../../etc/passwd\": its name is a path that leaves its folder"),
        (one(r"a\\..\\b"), 8, r#"tensor "a\\..\\b": its name is a path"#),
        (one("/etc/passwd"), 8, "its name is a path"),
        (one(""), 8, "a name has 1 to 1000 bytes, this one 0"),
        (one(&"x".repeat(1001)), 8, "x…\": a name has 1 to 1000 bytes, this one 1001"),
        (one("a"), 7, "tensor \"a\": the file ends at offset 69, its tensors at 70"),
        (one("a"), 9, "1 bytes follow its last tensor, from offset 70 on"),
        (
            with(entry("b", "F32", "[1]", 12, 16)),
            16,
            "tensor \"b\": 4 bytes between tensor \"a\" and it, at offset 125, belong to no",
        ),
        (
            header(&[entry("a", "U8", "[4]", 4, 8)]),
            8,
            "tensor \"a\": 4 bytes between the header and it, at offset 61, belong to no",
        ),
        (
            with(entry("b", "F32", "[2]", 4, 12)),
            12,
            "tensor \"b\": it begins at offset 120, within tensor \"a\", which ends at 124",
        ),
        (with(entry("b", "F32", "[2]", 0, 8)), 8, "it begins at offset 115, within tensor \"a\""),
        (
            header(&[entry("a", "F32", "[3]", 0, 8)]),
            8,
            "tensor \"a\": F32[3] takes 12 bytes, its offsets, 62 to 70 of the file, hold 8",
        ),
        (header(&[entry("a", "F32", "[2]", 8, 0)]), 8, "it begins at offset 70 of the file, after its end at 62"),
        (header(&[entry("a", "F4", "[3]", 0, 2)]), 2, "F4[3] ends within a byte"),
        (
            header(&[entry("a", "F32", "[4294967296,4294967296]", 0, 8)]),
            8,
            "the size of F32[4294967296, 4294967296] overflows",
        ),
        (header(&[entry("a", "F32", "[9223372036854775807]", 0, 8)]), 8, "overflows"),
        (header(&[entry("a", "F32", "[4294967296,4294967296,0]", 0, 0)]), 0, "overflows"),
        (header(&[entry("a", "F32", "[0,4294967296,4294967296]", 0, 0)]), 0, "overflows"),
        (header(&[entry("a", "F32", "[2]", u64::MAX - 8, u64::MAX)]), 8, "tensor \"a\": its offsets overflow"),
        (header(&[entry("a", "F32", "[18446744073709551616]", 0, 8)]), 8, "tensor \"a\": invalid type"),
        (header(&[entry("a", "F32", "[-1]", 0, 8)]), 8, "tensor \"a\": invalid value: integer `-1`"),
        (header(&[entry("a", "F32", &format!("{:?}", [1; 65]), 0, 4)]), 4, "it has 65 extents, more than 64"),
        (header(&[entry("a", "F31", "[2]", 0, 8)]), 8, "tensor \"a\": unknown variant `F31`"),
        (header(&[entry("a", "I64", "[1]", 0, 8)]), 8, "tensor \"a\" is I64, which is not supported"),
        (
            raw(r#"{"dtype":"U8","shape":[0],"shape":[1],"data_offsets":[0,1]}"#),
            1,
            "tensor \"a\": duplicate field `shape`",
        ),
        (
            raw(r#"{"dtype":"U8","shape":[0],"\u001b":1,"data_offsets":[0,1]}"#),
            1,
            r#"tensor "a": unknown field `\u{1b}`"#,
        ),
        (raw(r#"{"dtype":"U8","data_offsets":[0,1]}"#), 1, "tensor \"a\": missing field `shape`"),
        (raw("[]"), 0, "tensor \"a\": invalid length 0"),
        (r#"{"__metadata__":{"x":"1","x":"2"}}"#.into(), 0, "__metadata__ has \"x\" twice"),
        (r#"{"__metadata__":{},"__metadata__":{}}"#.into(), 0, "__metadata__ is there twice"),
        (r#"{"__metadata__":{"x":1}}"#.into(), 0, "up to offset 30: invalid type: integer `1`, expected a string"),
        (format!(r#"{{"a":{}"#, "[".repeat(500)), 0, "up to offset 15: tensor \"a\": expected value"),
        (" {}".into(), 0, "its header does not begin with { at offset 8"),
        ("{}x".into(), 0, "up to offset 11: trailing characters"),
        ("{".into(), 0, "up to offset 9: EOF"),
        ("\n{".into(), 0, "does not begin with {"),
        (format!("{{\n\"a\":{{\n}}}}{}", " ".repeat(4)), 0, "up to offset 17: tensor \"a\": missing field `dtype`"),
    ];
    let mut missed = String::new();
    for (header, data, wanted) in cases {
        let said = error(&file(&header, data));
        if !said.contains(wanted) {
            missed += &format!("{header}\n  says    {said}\n  and not {wanted}\n");
        }
    }
    assert!(missed.is_empty(), "{missed}");
    assert!(error(&[]).contains("it ends at offset 0, within the length"));
    assert!(error(&[1, 0, 0, 0, 0]).contains("it ends at offset 5, within the length"));
    assert!(error(&file("{\"\u{e9}", 0)[..11]).contains("it ends at offset 11, within its header, which ends at 12"));
    let not_utf8 = [&4u64.to_le_bytes()[..], b"{\"\xff\""].concat();
    assert!(error(&not_utf8).contains("not UTF-8 at offset 10"));
    assert!(error(&u64::MAX.to_le_bytes()).contains("18446744073709551615 bytes, by the number at its start"));
    assert!(error(b"PK\x03\x04\0\0\0\0").contains("PyTorch"));
}

/// What the format's own library says of a file.
fn library(bytes: &[u8]) -> Result<(), String> {
    SafeTensors::deserialize(bytes).map(drop).map_err(|e| e.to_string())
}

#[test]
fn the_formats_library_would_not_have_noticed() {
    let a = || entry("a", "U8", "[1]", 0, 1);
    for bytes in [
        file(&header(&[a(), a()]), 1),
        file(&header(&[entry(r"x\u0000\u001b", "U8", "[1]", 0, 1)]), 1),
        file(&header(&[entry("../x", "U8", "[1]", 0, 1)]), 1),
        file(&format!("{}{}", header(&[a()]), " ".repeat(1 << 20)), 1),
    ] {
        assert_eq!(library(&bytes), Ok(()));
        error(&bytes);
    }
}

#[test]
fn limits_are_raised_by_those_who_give_them() {
    let folder = std::env::temp_dir().join(format!("swint-limits-{}", std::process::id()));
    let open = |bytes: &[u8], limits: Limits| {
        std::fs::write(&folder, bytes).unwrap();
        let opened = Checkpoint::open(&folder, &limits);
        std::fs::remove_file(&folder).unwrap();
        opened.map(|(checkpoint, _)| checkpoint.0.len()).map_err(|error| error.to_string())
    };
    let entries: Vec<String> = (0..10_001).map(|i| entry(&format!("t{i}"), "U8", "[0]", 0, 0)).collect();
    let text = header(&entries);
    let bytes = file(&text, 0);
    assert!(text.len() < 1 << 20);
    assert!(
        open(&bytes, Limits::default()).unwrap_err().contains("more tensors than the limit of 10000 (--max-tensors)")
    );
    assert_eq!(open(&bytes, Limits { tensors: 10_001, ..Limits::default() }), Ok(10_001));
    let small = Limits { header: 1000, tensors: 20_000 };
    assert!(open(&bytes, small).unwrap_err().contains("the limit is 1000 (--max-header)"));
    // A million: the first one too many ends it.
    let many: Vec<String> = (0..1_000_000).map(|i| entry(&format!("{i}"), "U8", "[0]", 0, 0)).collect();
    let bytes = file(&header(&many), 0);
    assert!(open(&bytes, Limits::default()).unwrap_err().contains("--max-header"));
    let raised = Limits { header: 100_000_000, ..Limits::default() };
    assert!(open(&bytes, raised).unwrap_err().contains("more tensors than the limit of 10000"));
}

#[test]
fn a_header_may_have_an_odd_length() {
    for padding in 0..8 {
        let text = header(&[entry("a", "F32", "[2]", 0, 8)]) + &" ".repeat(padding);
        let mut bytes = file(&text, 0);
        bytes.extend([1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()));
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap().0["a"], Tensor::f32([2], vec![1.5, -2.0]));
    }
}

#[test]
fn floats_of_other_widths_become_f32_and_it_is_said() {
    let text = header(&[
        entry("d", "F64", "[2]", 0, 16),
        entry("h", "F16", "[3]", 16, 22),
        entry("b", "BF16", "[1]", 22, 24),
        entry("g", "F16", "[1]", 24, 26),
        entry("x.relative_position_index", "I64", "[1]", 26, 34),
        entry("i", "I16", "[]", 34, 36),
    ]);
    let mut bytes = file(&text, 0);
    bytes.extend([0.1f64, f64::NEG_INFINITY].iter().flat_map(|x| x.to_le_bytes()));
    // By IEEE 754: 1.5, the least subnormal, −65504; then bfloat16's −3; then infinity.
    bytes.extend([0x3e00u16, 0x0001, 0xfbff, 0xc040, 0x7c00].iter().flat_map(|x| x.to_le_bytes()));
    bytes.extend([7i64.to_le_bytes().to_vec(), (-5i16).to_le_bytes().to_vec()].concat());
    let Contents { tensors, indexes, notes } = from_bytes(&bytes).unwrap();
    let wanted = [
        ("b", Tensor::f32([1], vec![-3.0])),
        ("d", Tensor::f32([2], vec![0.1, f32::NEG_INFINITY])),
        ("g", Tensor::f32([1], vec![f32::INFINITY])),
        ("h", Tensor::f32([3], vec![1.5, 2f32.powi(-24), -65504.0])),
        ("i", Tensor::new([], Data::I16(vec![-5]))),
    ];
    assert_eq!(tensors.0, wanted.map(|(name, tensor)| (name.to_owned(), tensor)).into());
    assert_eq!(indexes, BTreeMap::from([("x.relative_position_index".to_owned(), vec![7])]));
    let wanted = [
        "2 tensors of F16 converted to F32, exactly: h, …",
        "1 tensor of BF16 converted to F32, exactly: b",
        "1 tensor of F64 converted to F32, rounded: d",
    ];
    assert_eq!(notes, wanted);
    let mut bytes = file(&header(&[entry("d", "F64", "[2]", 0, 16)]), 8);
    bytes.extend(1e300f64.to_le_bytes());
    assert!(error(&bytes).contains("tensor \"d\": element 1, at offset 71, is 1e300, which no f32 can be"));
}

#[test]
fn what_a_model_lacks_or_cannot_use_is_listed() {
    let tensor = |values: &[f32]| Tensor::f32([values.len() / 2, 2], values.to_vec());
    let checkpoint = Checkpoint(BTreeMap::from([
        ("bad".to_owned(), tensor(&[1.0, 2.0, f32::NAN, f32::INFINITY])),
        ("good".to_owned(), tensor(&[1.0, 2.0])),
        ("shape".to_owned(), tensor(&[1.0, 2.0])),
        ("x\u{202e}".to_owned(), tensor(&[])),
    ]));
    let expected = [("bad", vec![2, 2]), ("good", vec![1, 2]), ("shape", vec![2, 1]), ("gone", vec![3])];
    let error = checkpoint.check(&expected.map(|(name, shape)| (name.to_owned(), shape)).into()).unwrap_err();
    let wanted = "the checkpoint does not fit the model:
  not finite bad at [1, 0]: NaN; 2 of 4 elements
  missing    gone f32[3]
  mis-shaped shape f32[1, 2], not f32[2, 1]
  extra      x\\u{202e} f32[0, 2]";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn what_the_formats_library_writes_is_read_as_it_reads_it() {
    let dtypes = [(Dtype::F32, 4), (Dtype::I32, 4), (Dtype::I16, 2), (Dtype::I8, 1), (Dtype::U8, 1)];
    for seed in 0..50 {
        let mut rng = Rng::with_seed(seed);
        let tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = (0..rng.usize(..20))
            .map(|i| {
                let (dtype, width) = dtypes[rng.usize(..dtypes.len())];
                let shape: Vec<usize> = (0..rng.usize(..4)).map(|_| rng.usize(..9)).collect();
                let bytes = (0..shape.iter().product::<usize>() * width).map(|_| rng.u8(..)).collect();
                (format!("tensor é {i}"), dtype, shape, bytes)
            })
            .collect();
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        let bytes = safetensors::serialize(views, None).unwrap();
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(read.0.len(), tensors.len());
        for (name, _, shape, bytes) in &tensors {
            assert_eq!((&read.0[name].shape, &read.0[name].data.to_bytes()), (shape, bytes), "{name}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_to_its_end_and_not_believed() {
    use std::{io::pipe, os::fd::AsRawFd, path::PathBuf, thread};
    let through = |bytes: Vec<u8>| {
        let (read, mut write) = pipe().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", read.as_raw_fd()));
        let writer = thread::spawn(move || drop(write.write_all(&bytes)));
        let opened = Checkpoint::open(&path, &Limits::default());
        drop(read);
        writer.join().unwrap();
        opened.map(|(checkpoint, _)| checkpoint.0.len()).map_err(|error| error.to_string())
    };
    let text =
        header(&[entry("a", "F32", "[50000]", 0, 200_000), entry("x.attn_mask", "I64", "[1]", 200_000, 200_008)]);
    assert_eq!(through(file(&text, 200_008)), Ok(1));
    let start = 8 + text.len();
    let wanted = format!("tensor \"a\": the file ends within it, offsets {start} to {}", start + 200_000);
    assert!(through(file(&text, 100_000)).unwrap_err().contains(&wanted));
    let wanted = format!("more bytes follow its last tensor, from offset {} on", start + 200_008);
    assert!(through(file(&text, 200_009)).unwrap_err().contains(&wanted));
    // The claim of a petabyte costs nothing.
    let huge = header(&[entry("a", "F32", "[250000000000000]", 0, 1_000_000_000_000_000)]);
    assert!(through(file(&huge, 1000)).unwrap_err().contains("the file ends within it"));
}

fn surveyed(bytes: &[u8]) -> Survey {
    let (header, reader) = Reader::new(Cursor::new(bytes), &Limits::default()).unwrap();
    survey::look(header, reader, |_| true).unwrap()
}

#[test]
fn statistics_are_those_of_the_whole_tensor() {
    let mut rng = Rng::with_seed(1);
    // More than a chunk, and rows across its end.
    let (rows, columns) = (37, 1000);
    let mut values: Vec<f32> = (0..rows * columns).map(|_| rng.f32() * 3.0 - 1.0).collect();
    values[16 * columns..18 * columns].fill(0.0);
    values[5] = 0.0;
    let count = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let std = (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count).sqrt();
    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
    let mut bytes = file(&header(&[entry("a", "F32", "[37,1000]", 0, 148_000)]), 0);
    bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
    let survey = surveyed(&bytes);
    let found = survey.statistics[0].as_ref().unwrap();
    assert_eq!((found.min, found.zeros), (f64::from(min), 2001));
    assert!((found.mean - mean).abs() < 1e-12 && (found.std - std).abs() < 1e-12, "{found:?}");
    assert_eq!(survey.problems[0], [Problem::ZeroRows(2, 37)]);
}

#[test]
fn oddities_are_found() {
    let shapes = [("a", 10_000), ("b", 10_000), ("c", 10_000), ("ones", 4), ("ones2", 4), ("empty", 0)];
    let mut entries = Vec::new();
    let mut at = 0;
    for (name, n) in shapes {
        let shape = if n == 10_000 { "[100,100]".to_owned() } else { format!("[{n}]") };
        entries.push(entry(name, "F32", &shape, at, at + 4 * n));
        at += 4 * n;
    }
    let mut rng = Rng::with_seed(2);
    let mut a: Vec<f32> = (0..10_000).map(|_| rng.f32() - 0.5).collect();
    let mut c = a.clone();
    (a[17], c[203], c[204]) = (200.0, f32::NAN, f32::NEG_INFINITY);
    let mut bytes = file(&header(&entries), 0);
    bytes.extend([&a[..], &a, &c, &[1.0; 8]].concat().iter().flat_map(|x| x.to_le_bytes()));
    let survey = surveyed(&bytes);
    let texts: Vec<Vec<String>> = survey.problems.iter().map(|p| p.iter().map(Problem::to_string).collect()).collect();
    assert_eq!(texts[0].len(), 1);
    assert!(texts[0][0].ends_with("standard deviations from the mean"), "{texts:?}");
    assert_eq!(texts[1][1], "the same elements as a");
    assert_eq!(texts[2], ["1 NaN, 1 infinite, the first at [2, 3]"]);
    assert_eq!(texts[3..], [const { Vec::<String>::new() }; 3]);
    let c = survey.statistics[2].as_ref().unwrap();
    assert!(c.max < 0.5 && c.std.is_finite());
    assert!(survey.statistics[5].as_ref().unwrap().min.is_nan());
}
