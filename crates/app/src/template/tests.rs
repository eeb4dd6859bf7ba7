use serde_json::json;

use super::budget::Budget;
use super::*;

fn document() -> Json {
    json!({
        "Repository": "web", "Tag": "1", "Size": 12, "Share": 0.5, "Cmd": ["sh", "-c"], "Empty": [], "None": null, "Yes": true,
        "Config": { "Env": ["A=1", "B=2"], "Labels": { "z": "last", "a.b": "c" } },
        "Ports": { "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }] },
        "Words": "two words", "Html": "<a href=\"x\">it's</a>&\u{1}",
    })
}

fn filled(source: &str) -> String {
    let filled = Template::new(source).and_then(|template| template.fill(&document()));
    filled.unwrap_or_else(|error| format!("{error}"))
}

fn check(cases: &[(&str, &str)]) {
    for (source, want) in cases {
        assert_eq!(filled(source), *want, "{source}");
    }
}

#[test]
fn fields_pipes_and_blocks_are_filled_in_as_go_does() {
    check(&[
        ("plain", "plain"),
        ("{{.Repository}}:{{.Tag}}", "web:1"),
        ("{{ .Repository }}\t{{.Size}}\\n", "web\t12\\n"),
        ("{{.Cmd}} {{.Config.Labels}}", "[sh -c] map[a.b:c z:last]"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range .Empty}}x{{else}}nothing{{end}}", "nothing"),
        ("{{range .None}}x{{else}}nothing{{end}}", "nothing"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range .Config.Labels}}{{.}} {{end}}", "c last "),
        ("{{if .Yes}}yes{{else}}no{{end}}{{if .Empty}}x{{end}}", "yes"),
        ("{{if .Empty}}a{{else if eq .Tag \"2\"}}b{{else if .Yes}}c{{else}}d{{end}}!", "c!"),
        ("{{with .Config}}{{len .Env}}{{$.Tag}}{{end}}", "21"),
        ("{{with .Empty}}x{{else with .Tag}}<{{.}}>{{else}}y{{end}}", "<1>"),
        ("{{with .None}}x{{else}}{{.Tag}}{{end}}", "1"),
        ("{{.None}} {{.Share}} {{.Yes}}", "<no value> 0.5 true"),
        ("{{(index .Ports \"80/tcp\")}}", "[map[HostIp:0.0.0.0 HostPort:8080]]"),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{index .Config.Labels \"a.b\"}} {{index .Config.Env 1}}", "c B=2"),
        ("{{with $x := .Config}}{{$x.Env}}{{end}}", "[A=1 B=2]"),
        ("{{\"a}}b\"}} {{`c\\d`}} {{'a'}} {{0x10}} {{1.5}} {{\"\\u00e9\\n\"}}", "a}}b c\\d 97 16 1.5 é\n"),
    ]);
}

#[test]
fn variables_are_set_and_end_with_their_block() {
    check(&[
        ("{{$x := .Tag}}{{$x}}{{$x = \"2\"}}{{$x}}", "12"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=c;z=last;"),
        ("{{range $i, $e := .Cmd}}{{$i}}:{{$e}} {{end}}", "0:sh 1:-c "),
        ("{{range $e := .Cmd}}{{$e}}{{$.Tag}}{{end}}", "sh1-c1"),
        ("{{$n := 0}}{{range .Cmd}}{{$n = len .}}{{end}}{{$n}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$i := 0}}{{$e := 0}}{{range $i, $e = .Cmd}}{{end}}{{$i}}{{$e}}", "1-c"),
        ("{{range $i, $e := .Cmd}}{{if $i}},{{end}}{{$e}}{{end}}", "sh,-c"),
        ("{{range .Cmd}}{{.}}{{break}}{{end}}!", "sh!"),
        ("{{range .Cmd}}{{if eq . \"sh\"}}{{continue}}{{end}}{{.}}{{end}}", "-c"),
        ("{{range .Cmd}}{{range $.Cmd}}{{break}}{{end}}{{.}}{{end}}", "sh-c"),
    ]);
}

#[test]
fn space_is_trimmed_and_remarks_are_left_out() {
    check(&[
        ("a {{- .Tag -}} b", "a1b"),
        ("a \n\t{{- /* a remark */ -}} \n b", "ab"),
        ("{{/* a }} remark */}}x", "x"),
        ("{{- 3}} {{3 -}} x {{-3}}", "3 3x -3"),
        ("{{if .Yes -}}  x  {{- end}}", "x"),
        ("{{\n.Tag\n}}", "1"),
    ]);
}

#[test]
fn templates_are_defined_and_called() {
    check(&[
        ("{{define \"row\"}}<{{.}}>{{end}}{{range .Cmd}}{{template \"row\" .}}{{end}}", "<sh><-c>"),
        ("{{block \"b\" .Tag}}[{{.}}]{{end}}{{template \"b\" 2}}", "[1][2]"),
        ("{{define \"a\"}}{{$}}{{end}}{{template \"a\"}}", "<no value>"),
        ("{{define \"a\"}} {{end}}{{define \"a\"}}2{{end}}{{define \"a\"}}\n{{end}}{{template \"a\"}}", "2"),
        (
            "{{define \"a\"}}1{{end}}x{{define \"a\"}}2{{end}}",
            "the template has a mistake at 1:24: the template `a` is defined twice",
        ),
        (
            "{{block \"a\" 1}}1{{end}}{{define \"a\"}}2{{end}}",
            "the template has a mistake at 1:24: the template `a` is defined twice",
        ),
        (
            "{{define \"n\"}}{{if .}}{{len .}}{{template \"n\" (slice . 1)}}{{end}}{{end}}{{template \"n\" .Cmd}}",
            "21",
        ),
    ]);
}

#[test]
fn functions_are_gos_and_dockers() {
    check(&[
        ("{{json .Cmd}} {{.Config.Labels | json}}", "[\"sh\",\"-c\"] {\"z\":\"last\",\"a.b\":\"c\"}"),
        ("{{json .Html}}", r#""<a href=\"x\">it's</a>&\u0001""#),
        ("{{join .Cmd \" \"}} {{join .Config.Labels \",\"}} {{join .None \"x\"}}", "sh -c c,last "),
        ("{{index .Config.Labels \"no\"}}|{{len .Words}} {{len .Config}} {{len .Cmd}}", "<no value>|9 2 2"),
        ("{{upper .Repository}} {{lower \"ABC\"}} {{title .Words}}", "WEB abc Two Words"),
        ("{{upper \"straße\"}} {{lower \"ΟΔΟΣ\"}} {{title \"ßa éa\"}}", "STRAßE οδοσ ßa Éa"),
        ("{{split .Words \" \"}} {{index (split \"a:b\" \":\") 1}}", "[two words] b"),
        ("{{truncate .Words 3}} {{truncate .Tag 9}} {{pad .Tag 2 1}}| {{pad \"\" 2 1}}|", "two 1   1 | |"),
        ("{{slice .Cmd 1}} {{slice .Words 0 3}} {{slice .Cmd}}", "[-c] two [sh -c]"),
        ("{{print 1 2 \"a\" \"b\" 3}} {{println .Tag 2}}", "1 2ab3 1 2\n"),
        ("{{printf \"%-6s|%3d|%q\" .Repository .Size .Tag}}", "web   | 12|\"1\""),
        ("{{.Size | printf \"%d-%s\" 1 | printf \"%s\"}}", "1-%!s(int=12)"),
        ("{{html .Html}}", "&lt;a href=&#34;x&#34;&gt;it&#39;s&lt;/a&gt;&amp;\u{1}"),
        ("{{js .Html}}", "\\u003Ca href\\u003D\\\"x\\\"\\u003Eit\\'s\\u003C/a\\u003E\\u0026\\u0001"),
        ("{{urlquery \"a b&c/d\"}}", "a+b%26c%2Fd"),
        ("{{not .Yes}} {{and .Yes .Tag}} {{or .Empty .Tag}} {{and .Empty .Nope}}", "false 1 1 []"),
        ("{{.Tag | or .Empty}} {{.Yes | and .Tag}}", "1 true"),
    ]);
}

#[test]
fn comparisons_hold_for_values_of_one_kind() {
    check(&[
        (
            "{{eq .Tag \"1\"}} {{eq .Tag \"a\" \"1\"}} {{ne .Tag \"1\"}} {{eq .Size 12}}",
            "true true false true",
        ),
        (
            "{{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge .Size 13}} {{lt 1.5 2.5}}",
            "true true true false true",
        ),
        ("{{eq .None nil}} {{eq .Tag nil}} {{ne nil nil}}", "true false false"),
        (
            "{{eq .Size 12.0}}",
            "the template cannot be filled in at 1:3: a whole number cannot be compared with a number",
        ),
        (
            "{{eq .Tag 1}}",
            "the template cannot be filled in at 1:3: a text cannot be compared with a whole number",
        ),
        ("{{lt true false}}", "the template cannot be filled in at 1:3: true or false cannot be compared so"),
        ("{{eq .Cmd .Cmd}}", "the template cannot be filled in at 1:3: a list cannot be compared so"),
        ("{{eq 1}}", "the template cannot be filled in at 1:3: `eq` wants something to compare with"),
    ]);
}

#[test]
fn mistakes_in_templates_are_told_with_their_place() {
    let nested = format!("{{{{{}.Tag{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
    let blocks = "{{if .Tag}}".repeat(100_000);
    let chained = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(100_000));
    for (source, want) in [
        ("{{.Tgg}}", "asks for `.Tgg` at 1:3"),
        ("x\n {{.Config.Evn}}", "asks for `.Config.Evn` at 2:4"),
        ("{{.Tag.X}}", "asks for `.Tag.X` at 1:3"),
        ("ab{{.Tag", "at 1:3: `{{` without `}}`"),
        ("{{if .Tag}}x", "at 1:1: `end` is missing"),
        ("x{{end}}", "at 1:2: `end` stands alone"),
        ("{{else}}", "`else` stands alone"),
        ("{{if .Tag}}{{else}}{{else}}{{end}}", "`else` is there twice"),
        ("{{nonsense .Tag}}", "at 1:3: there is no function `nonsense`"),
        ("{{$x}}", "there is no variable `$x`"),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "there is no variable `$x`"),
        ("{{$x = 1}}", "there is no variable `$x`"),
        ("{{range $a, $b, $c := .Cmd}}{{end}}", "too many variables"),
        ("{{if $a, $b := .Cmd}}{{end}}", "too many variables for if"),
        ("{{join .Tag \",\"}}", "`join` wants a list, not a text"),
        ("{{join .Cmd}}", "`join` wants two values, not 1"),
        ("{{upper .Size}}", "`upper` wants a text, not a number"),
        ("{{index}}", "`index` wants"),
        ("{{index .Cmd 2}}", "there is no place 2: the length is 2"),
        ("{{index .Cmd -1}}", "there is no place -1"),
        ("{{index .Cmd \"a\"}}", "a whole number, not a text"),
        ("{{index .None 1}}", "there is nothing to index"),
        ("{{len .Size}}", "`len` wants a list, a map or a text, not a number"),
        ("{{slice .Cmd 2 1}}", "`slice` ends at 1"),
        ("{{range .Tag}}{{end}}", "`range` wants a list or a map, not a text"),
        ("{{.Tag 1}}", "a value that is no function has arguments"),
        ("{{1 | .Tag}}", "a value that is no function has arguments"),
        ("{{.Tag | 1}}", "only a function can stand behind `|`"),
        ("{{call .Tag}}", "`call` wants a function, not a text"),
        ("{{nil}}", "`nil` is no command"),
        ("{{break}}", "`break` is in no `range`"),
        ("{{template \"t\"}}", "at 1:1: there is no template `t`"),
        ("{{template .Tag}}", "`template` wants a name in quotes"),
        ("{{if true}}{{define \"a\"}}{{end}}{{end}}", "`define` cannot stand in a block"),
        ("{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}", "are in each other more than"),
        (
            "{{$x := printf \"%999999s\" .Tag}}{{range 1000000000}}{{$x}}{{end}}",
            "the template makes too much text",
        ),
        ("{{$x := .Tag}}{{range 100}}{{$x = print $x $x}}{{end}}", "1:35: `print` makes too much text"),
        ("x{{range 1000000000000}}{{end}}", "at 1:10: the template takes more than 10000000 steps"),
        ("{{define \"a\"}}{{range 9999}}{{range 9999}}{{end}}{{end}}{{end}}{{template \"a\"}}", "steps"),
        ("{{1e400}}", "`1e400` is no number"),
        ("{{(and nil).Env}}", "asks for `.Env` at 1:3"),
        ("{{}}", "is empty"),
        ("{{.Tag | }}", "misses a value"),
        ("{{\"open}}", "a text is not closed"),
        ("{{\"\\q\"}}", "has no meaning in a text"),
        ("{{/* open }}", "a remark without `*/`"),
        ("{{(.Tag}}", "`(` without `)`"),
        ("{{.Tag)}}", "`)` stands alone"),
        ("{{.Tag.Size\"x\"}}", "`\"` cannot stand in or behind a name"),
        ("{{..Tag}}", "`.Tag` cannot stand behind"),
        ("{{1.Tag}}", "`1.Tag` is no number"),
        ("{{.Tag!}}", "`!` cannot stand"),
        ("{{if .Tag}}{{else what}}{{end}}", "`else what` is not known"),
        (&nested, "are in each other"),
        (&blocks, "are in each other"),
        (&chained, "are in each other"),
    ] {
        let error = Template::new(source).and_then(|template| template.fill(&document())).unwrap_err();
        assert!(error.to_string().contains(want), "{}: {error}", &source[..source.len().min(100)]);
    }
    for (source, want) in [("{{.tag}}", "did you mean `.Tag`?"), ("{{indx .Tag}}", "did you mean `index`?")] {
        let error = Template::new(source).and_then(|template| template.fill(&document())).unwrap_err();
        let failure = crate::failure::Failure::from(error);
        assert!(failure.text().ends_with(&format!("hint: {want}")), "{}", failure.text());
    }
}

#[test]
fn a_bomb_of_text_is_told_by_its_name_before_it_takes_memory() {
    let large = "{{$x := printf \"%999999s\" .Tag}}{{range 6}}{{$x = print $x $x}}{{end}}";
    let list = "{{$l := split (printf \"%9999s\" \"\") \"\"}}{{printf \"%999999v\" $l}}".to_owned();
    let many = format!("{large}{{{{print{}}}}}", " $x".repeat(1000));
    for (source, want) in [
        (list, "at 1:42: `printf` makes too much text: a template and its functions make at most 128 MiB"),
        (many, "at 1:73: `print` makes too much text"),
    ] {
        let error = filled(&source);
        assert!(error.contains(want), "{}: {}", &source[..90], &error[..error.len().min(300)]);
    }
}

#[test]
fn functions_ask_before_they_make_text() {
    let text = || Value::text("twenty-four characters, ");
    let list = || Value::list(["a", "b", "c"].map(Value::text));
    for (function, arguments) in [
        ("print", vec![text()]),
        ("println", vec![text()]),
        ("printf", vec![Value::text("%s"), text()]),
        ("printf", vec![Value::text("%9v"), list()]),
        ("printf", vec![Value::text("%.20d"), Value::Whole(1)]),
        ("printf", vec![Value::text("%x"), text()]),
        ("printf", vec![Value::text("%q"), text()]),
        ("html", vec![text()]),
        ("js", vec![text()]),
        ("urlquery", vec![text()]),
        ("json", vec![text()]),
        ("join", vec![list(), text()]),
        ("split", vec![text(), Value::text("")]),
        ("split", vec![text(), Value::text(" ")]),
        ("slice", vec![text()]),
        ("slice", vec![list()]),
        ("lower", vec![text()]),
        ("upper", vec![text()]),
        ("title", vec![text()]),
        ("pad", vec![Value::text("a"), Value::Whole(20), Value::Whole(0)]),
        ("truncate", vec![text(), Value::Whole(20)]),
    ] {
        let error = functions::apply(function, &arguments, &Budget::of_text(18)).unwrap_err();
        assert!(error.starts_with(&format!("`{function}` makes too much text")), "{error}");
        assert!(functions::apply(function, &arguments, &Budget::of_text(2000)).is_ok(), "{function}");
    }
}

#[test]
fn a_precision_can_have_more_digits_than_the_standard_library_takes() {
    for (source, length, start, end) in [
        ("{{printf \"%.70000d\" 1}}", 70_000, "000", "001"),
        ("{{printf \"%.70000d\" -1}}", 70_001, "-00", "001"),
        ("{{printf \"%.*d\" 70000 1}}", 70_000, "000", "001"),
        ("{{printf \"%.70000x\" 31}}", 70_000, "000", "01f"),
        ("{{printf \"%.70000U\" 31}}", 70_002, "U+0", "01F"),
        ("{{printf \"%.70000f\" 1.5}}", 70_002, "1.5", "000"),
        ("{{printf \"%.70000e\" 0.1}}", 70_006, "1.000000000000000055511151231257827", "0e-01"),
        ("{{printf \"%.70000g\" 1.5}}", 3, "1.5", "1.5"),
        ("{{printf \"%#.70000g\" 1.5}}", 70_001, "1.5", "000"),
        ("{{printf \"%.70000v\" 1.5}}", 3, "1.5", "1.5"),
        ("{{printf \"%.70000x\" 1.5}}", 70_008, "0x1.8", "0p+00"),
        ("{{printf \"%.1000000d\" 1}}", 1_000_000, "000", "001"),
        ("{{printf \"%070000d\" 1}}", 70_000, "000", "001"),
        ("{{printf \"%.*d\" 1000001 1}}", 12, "%!(BADPREC)1", ""),
    ] {
        let text = filled(source);
        assert_eq!(text.len(), length, "{source}");
        assert!(text.starts_with(start) && text.ends_with(end), "{source}");
    }
}

#[test]
fn what_is_known_and_unset_is_empty() {
    static SHAPE: Shape = Shape::Fields(&[
        ("Id", &Shape::Text),
        ("User", &Shape::Text),
        ("Cmd", &Shape::List(&Shape::Text)),
        ("Labels", &Shape::Map(&Shape::Text)),
        ("Health", &Shape::Maybe(&Shape::Fields(&[("Status", &Shape::Text)]))),
        ("State", &Shape::Fields(&[("Pid", &Shape::Number), ("Running", &Shape::Truth)])),
        ("NanoCpus", &Shape::Number),
    ]);
    let document = json!({ "Id": "x", "Cmd": null, "More": { "a": 1 } });
    for (source, want) in [
        ("{{.Id}}{{.ID}}[{{.User}}]{{.Cmd}}{{.Labels}}{{.Health}}", "xx[][]map[]<nil>"),
        ("{{.State}}{{.State.Pid}}{{.State.Running}}", "{0 false}0false"),
        ("{{.Labels.no}} {{index .Labels \"no\"}}|{{len .Cmd}}", "<no value> |0"),
        ("{{if .Health}}a{{else}}b{{end}}{{range .Cmd}}c{{else}}d{{end}}", "bd"),
        ("{{printf \"%v %+v\" .State .State}}", "{0 false} {Pid:0 Running:false}"),
        ("{{.More.a}} {{json .}}", r#"1 {"Id":"x","Cmd":null,"More":{"a":1}}"#),
        ("{{.Health.Status}}", "the template asks for `.Health.Status` at 1:3, which is not there"),
        ("{{.NanoCPUs}} {{.NanoCpus}}", "0 0"),
        ("{{.Usr}}", "the template asks for `.Usr` at 1:3, which is not there"),
    ] {
        let filled = Template::new(source).and_then(|template| template.fill_shaped(&document, &SHAPE));
        assert_eq!(filled.unwrap_or_else(|error| format!("{error}")), want, "{source}");
    }
}

#[test]
fn rows_have_heads_and_labels() {
    let row = json!({ "ID": "a", "Label": { "team": "web" } });
    let shown = |source: &str| Template::new(source).unwrap().fill_shaped(&row, &Shape::Row).unwrap();
    assert_eq!(shown("{{.ID}} {{.Label \"team\"}} {{\"no\" | .Label}}."), "a web .");
    assert_eq!(shown("{{json .}}"), r#"{"ID":"a"}"#);
    let heads = json!({ "ID": "IMAGE ID", "Size": "SIZE" });
    let heads = heads.as_object().unwrap();
    for (source, want) in [
        ("{{.ID}}\t{{upper .Size}}\t{{json .No}}", "IMAGE ID\tSIZE\t<no value>"),
        ("{{truncate .ID 3}}{{if .ID}}!{{end}} {{index .ID 1 2 3}}x", "IMAGE ID! "),
    ] {
        assert_eq!(Template::new(source).unwrap().heads(heads), want, "{source}");
    }
}
