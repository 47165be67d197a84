def test_a_page_to_standard_output_or_a_file(larqldb, tiny_vindex, tmp_path):
    code, out, err = larqldb("report", tiny_vindex)
    assert (code, err) == (0, "")
    assert out.startswith("<!DOCTYPE html>")
    path = tmp_path / "report.html"
    assert larqldb("report", tiny_vindex, "-o", path) == (0, "", "")
    assert path.read_text(encoding="utf-8") == out


def test_it_changes_nothing(larqldb, tiny_vindex):
    before = tiny_vindex.read_bytes()
    assert larqldb("report", tiny_vindex).code == 0
    assert tiny_vindex.read_bytes() == before


def test_the_model_is_not_overwritten(larqldb, tiny_vindex):
    code, _, err = larqldb("report", tiny_vindex, "-o", tiny_vindex)
    assert code == 2
    assert "is a database" in err
