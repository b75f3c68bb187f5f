#include "ppcls/bundle.h"

#include "catch.h"
#include "ppcls/error.h"

namespace {

namespace fs = std::filesystem;

/// Copy a bundle, and replace a text in its inference.yml.
std::string edited(const Folder& folder, const std::string& from, const std::string& to,
                   const std::string& name = "single_label") {
  const std::string copy = folder / "bundle";
  fs::remove_all(copy);
  fs::copy(bundle(name), copy);
  std::string text = read_text(copy + "/inference.yml");
  const auto at = text.find(from);
  REQUIRE(at != text.npos);
  text.replace(at, from.size(), to);
  folder.write("bundle/inference.yml", text);
  return copy;
}

std::string refusal(const std::string& folder) {
  return error_of([&] { ppcls::read_bundle(folder); });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("a bundle states its input, output and classes", "[bundle]") {
  const auto found = ppcls::read_bundle(bundle("single_label") + "/");
  CHECK(found.folder == bundle("single_label"));
  CHECK(found.height == 24);
  CHECK(found.width == 24);
  CHECK(found.channels == 3);
  CHECK(found.topk == 3);
  CHECK(found.labels.size() == 5);
  CHECK(found.labels[3] == "no");
  CHECK(ppcls::read_bundle(bundle("gray")).channels == 1);
  CHECK(ppcls::read_bundle(bundle("uint8")).takes_pixels);
  CHECK(ppcls::read_bundle(bundle("softmax")).gives_scores);
  const auto several = ppcls::read_bundle(bundle("multi_label"));
  CHECK(several.multi_label);
  CHECK(several.thresholds == std::vector<double>{0.9, 0.2, 0.5, 0.4, 0.6});
}

TEST_CASE("a folder that is no bundle is refused as by Python", "[bundle]") {
  const Folder folder;
  CHECK(refusal(folder / "none") == folder / "none" + ": no such folder; `ppcls export` makes one");
  CHECK(refusal(folder.path()) ==
        folder.path() +
            ": not an exported model: it has none of inference.json, inference.pdmodel, "
            "inference.onnx; `ppcls export` makes one");
  folder.write("inference.yml", "PreProcess: 1\n");
  CHECK(contains(refusal(folder.path()),
                 "no schema_version: not written by ppcls, nor by PaddleClas for a classifier: "));
}

TEST_CASE("a changed bundle is refused as by Python", "[bundle]") {
  const Folder folder;
  std::string copy = edited(folder, "schema_version: 2", "schema_version: 3");
  CHECK(refusal(copy) == copy +
                             "/inference.yml: schema_version is 3; this version of ppcls reads "
                             "2: it needs a newer ppcls");
  copy = edited(folder, "schema_version", "schema_version");
  folder.write("bundle/inference.onnx", "other");
  CHECK(refusal(copy) == copy + "/inference.onnx: changed since the export (its checksum differs)");
  fs::remove(copy + "/inference.onnx");
  CHECK(refusal(copy) == copy + "/inference.onnx: missing from the exported model");
  copy = edited(folder, "schema_version", "schema_version");
  folder.write("bundle/inference.pdmodel", "foreign");
  CHECK(refusal(copy) == copy +
                             "/inference.pdmodel: not listed in inference.yml, so not of this "
                             "export; remove it");
}

TEST_CASE("what the library cannot do is refused by name", "[bundle]") {
  const Folder folder;
  const std::string ops = "  transform_ops:\n";
  CHECK(contains(refusal(edited(folder, ops, ops + "  - Sharpen: {}\n")),
                 "transform_ops[0]: the C++ library has no transform Sharpen"));
  CHECK(contains(refusal(edited(folder, "resize_short: 28", "resize_short: 28\n      blur: 1")),
                 "ResizeImage.blur: unknown to this version of the C++ library"));
  CHECK(contains(refusal(edited(folder, "channels: 1", "channels: 5", "gray")),
                 "decode gives 5 channels, but the shape has 1"));
  CHECK(contains(refusal(edited(folder, "color: RGB", "color: bands")),
                 "the C++ library reads RGB and gray images"));
  CHECK(contains(refusal(edited(folder, "files:\n", "files:\n  ../weights: abc\n")),
                 "bare file names"));
  CHECK(contains(
      refusal(edited(folder, "files:\n", "plugins:\n- name: mine\n  classes: [A]\nfiles:\n")),
      "its transforms need a Python plug-in, which C++ cannot run"));
}

TEST_CASE("parts that do not fit each other are refused as by Python", "[bundle]") {
  const Folder folder;
  CHECK(contains(refusal(edited(folder, "size: 24", "size: 20")),
                 "PreProcess.transform_ops give [20, 20], but Input.shape has height and width "
                 "[24, 24]; export the model again"));
  CHECK(contains(refusal(edited(folder, "classes: 5", "classes: 6")),
                 "PostProcess.Topk.label_list has 5 names, but the graph outputs 6 classes"));
  CHECK(contains(refusal(edited(folder, "task: multi_label", "task: single_label", "multi_label")),
                 "PostProcess has MultiLabelThreshOutput; Output.task single_label needs Topk"));
  CHECK(contains(refusal(edited(folder, "sigmoid: false", "sigmoid: true")),
                 "sigmoid does not fit task single_label"));
}

TEST_CASE("hostile YAML is refused", "[bundle]") {
  const Folder folder;
  const auto with = [&folder](const std::string& text) {
    return refusal(fs::path(folder.write("odd/inference.yml", text)).parent_path().string());
  };
  folder.write("odd/inference.json", "{}");
  CHECK(contains(with("a: &a [1]\nb: *a\n"), "inference.yml:2: an alias"));
  CHECK(contains(with(std::string(200, '[')), "nested more than 100 levels deep"));
  CHECK(contains(with("[" + std::string(2'100'000, ',') + "]"), "inference.yml:1: "));
  CHECK(contains(with("a: \xff\n"), "inference.yml:1: not UTF-8 (byte 3)"));
  CHECK(contains(with(""), "no schema_version"));
  CHECK(contains(with("schema_version: 2\nschema_version: 2\n"), "the key occurs twice"));
}
