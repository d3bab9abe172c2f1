"""What conf/grafana holds: the dashboard's structure, and the files that provision it."""

import re

from grafana import CONF, DASHBOARD, PANELS, VARIABLES, panel_sql, statements


def test_dashboard_file_is_complete() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["uid"] == "aegisd"
    assert DASHBOARD["id"] is None
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) == len(PANELS)
    for panel in DASHBOARD["panels"]:
        assert {"type", "title", "gridPos", "targets", "fieldConfig", "options"} <= set(panel)
        for target in panel["targets"]:
            assert target["rawQuery"] is True
            assert target["refId"] == "A"
            wanted = "table" if panel["type"] in ("table", "stat") else "time_series"
            assert target["format"] == wanted


def test_series_queries_fill_gaps() -> None:
    """Grafana fills what a macro with a third argument leaves out: counts with 0."""
    for title, panel in PANELS.items():
        if panel["type"] in ("timeseries", "heatmap"):
            fill = re.search(r"\$__timeGroupAlias\(bucket, '[^']+', (\w+)\)", panel_sql(panel))
            assert fill
            assert fill[1] == ("NULL" if title == "Durations" else "0")
            # an interval shorter than the level's would have holes of its own
            assert ("$__interval" in panel_sql(panel)) == (panel.get("interval") == "${step}")


def test_panels_do_not_overlap() -> None:
    taken = [
        (column, row)
        for panel in DASHBOARD["panels"]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert {column for column, _ in taken} == set(range(24))


def test_all_data_comes_from_the_provisioned_source() -> None:
    source = (CONF / "provisioning/datasources/aegisd.yaml").read_text()
    uid, type_ = (
        re.search(rf"^    {key}: (\w+)$", source, re.MULTILINE) for key in ("uid", "type")
    )
    assert uid
    assert type_
    wanted = {"type": type_[1], "uid": uid[1]}
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == wanted
        assert [target["datasource"] for target in panel["targets"]] == [wanted]
    assert [variable["datasource"] for variable in VARIABLES.values()] == [wanted] * len(VARIABLES)


def test_files_hold_neither_passwords_nor_addresses() -> None:
    files = [path for path in CONF.rglob("*") if path.is_file()]
    assert len(files) == 3
    for file in files:
        text = file.read_text()
        assert "://" not in text
        for line in re.findall(r"^\s*(?:password|user|url|database):.*$", text, re.MULTILINE):
            assert re.search(r": \$\{AEGISD_PG_[A-Z]+\}$", line), line


def test_hidden_variables_follow_the_range_and_none_is_hidden_by_chance() -> None:
    for name, variable in VARIABLES.items():
        assert variable["query"] == variable["definition"]
        assert (variable["hide"], variable["refresh"]) == ((0, 1) if name == "node" else (2, 2))
    names = list(VARIABLES)
    used = {name for _, sql, _ in statements() for name in names if f"${{{name}" in sql}
    assert used == set(names)
