#include "ppcls/bundle.h"

#include <openssl/evp.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include "ppcls/error.h"
#include "text.h"
#include "yaml.h"

namespace ppcls {

namespace {

using detail::Section;

constexpr char kSpecFile[] = "inference.yml";
constexpr int kSchemaVersion = 2;
const std::vector<std::string> kGraphs = {"inference.json", "inference.pdmodel", "inference.onnx"};
constexpr char kWeights[] = "inference.pdiparams";

bool is_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

std::string sha256(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(),
                                                                       EVP_MD_CTX_free);
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  std::vector<char> block(1 << 20);
  while (file) {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    EVP_DigestUpdate(digest.get(), block.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof()) throw BundleError(path + ": cannot be read");
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(digest.get(), bytes, &size);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (unsigned i = 0; i < size; ++i) {
    out += kDigits[bytes[i] >> 4];
    out += kDigits[bytes[i] & 15];
  }
  return out;
}

void require_version(const YAML::Node& found, const std::string& path) {
  int version = 0;
  const bool is_number = found.IsScalar() && YAML::convert<int>::decode(found, version);
  if (is_number && version == kSchemaVersion) return;
  const std::string shown = !found.IsScalar() ? "no number"
                            : is_number       ? std::to_string(version)
                                              : "'" + found.Scalar().substr(0, 60) + "'";
  throw BundleError(
      path + ": schema_version is " + shown + "; this version of ppcls reads " +
      std::to_string(kSchemaVersion) +
      (version > kSchemaVersion ? ": it needs a newer ppcls" : ": export the model again"));
}

void read_input(const Section& input, Bundle& bundle) {
  input.allow({"name", "shape", "dtype", "layout", "color", "range", "decode"});
  const std::string dtype = input.has("dtype") ? input.text("dtype") : "float32";
  const std::string layout = input.has("layout") ? input.text("layout") : "NCHW";
  bundle.takes_pixels = dtype == "uint8";
  if (!(dtype == "float32" && layout == "NCHW") && !(dtype == "uint8" && layout == "NHWC")) {
    throw BundleError(input.where("dtype") + ": " + dtype + " " + layout +
                      " is neither float32 NCHW nor uint8 NHWC; export the model again");
  }
  if (input.has("decode")) {
    const Section decode = input.section("decode");
    decode.allow({"DecodeImage"});
    if (decode.has("DecodeImage")) {
      const Section options = decode.section("DecodeImage");
      options.allow({"channels"});
      if (options.has("channels")) bundle.channels = options.integer("channels", 1, 512);
    }
  }
  const auto shape = input.integers("shape", -1, 1 << 30);
  if (shape.size() != 4) input.refuse("shape", "four numbers");
  const int channels = shape[bundle.takes_pixels ? 3 : 1];
  bundle.height = shape[bundle.takes_pixels ? 1 : 2];
  bundle.width = shape[bundle.takes_pixels ? 2 : 3];
  if (channels != -1 && channels != bundle.channels) {
    throw BundleError(input.where("shape") + ": decode gives " + std::to_string(bundle.channels) +
                      " channels, but the shape has " + std::to_string(channels) +
                      "; export the model again");
  }
  const std::string color = input.has("color") ? input.text("color") : "RGB";
  if (color == "bands" || (bundle.channels != 3 && bundle.channels != 1)) {
    throw BundleError(input.where("color") + ": the model takes " +
                      std::to_string(bundle.channels) +
                      " bands; the C++ library reads RGB and gray images; use Python");
  }
  if (color != "RGB" && color != "gray") input.refuse("color", "RGB, gray or bands");
}

void require_size(const Bundle& bundle, const std::string& path) {
  const cv::Size given = bundle.pipeline.output_size();
  if (given == cv::Size(bundle.width, bundle.height) && !given.empty()) return;
  const auto sides = [](int height, int width) {
    return "[" + std::to_string(height) + ", " + std::to_string(width) + "]";
  };
  throw BundleError(
      path + ": PreProcess.transform_ops give " +
      (given.empty() ? "images of any height and width" : sides(given.height, given.width)) +
      ", but Input.shape has height and width " + sides(bundle.height, bundle.width) +
      "; export the model again");
}

/// Refuse another number of entries than classes.
void require_count(const std::string& where, std::size_t found, const char* what, int classes) {
  if (found == static_cast<std::size_t>(classes)) return;
  throw BundleError(where + " has " + std::to_string(found) + " " + what +
                    ", but the graph outputs " + std::to_string(classes) +
                    " classes; export the model again");
}

void read_output(const Section& spec, const std::string& path, Bundle& bundle) {
  const Section output = spec.section("Output");
  const Section post = spec.section("PostProcess");
  output.allow({"classes", "task", "softmax", "sigmoid", "features"});
  const int classes = output.integer("classes", 1, 1 << 30);
  const std::string task = output.has("task") ? output.text("task") : "single_label";
  if (task != "single_label" && task != "multi_label") {
    output.refuse("task", "single_label or multi_label");
  }
  bundle.multi_label = task == "multi_label";
  const char* own = bundle.multi_label ? "sigmoid" : "softmax";
  const char* other = bundle.multi_label ? "softmax" : "sigmoid";
  bundle.gives_scores = output.boolean(own, false);
  if (output.boolean(other, false)) {
    throw BundleError(output.where(other) + ": " + other + " does not fit task " + task +
                      "; export the model again");
  }
  post.allow({"Topk", "MultiLabelThreshOutput"});
  const std::string key = bundle.multi_label ? "MultiLabelThreshOutput" : "Topk";
  const std::string wrong = bundle.multi_label ? "Topk" : "MultiLabelThreshOutput";
  if (!post.has(key) || post.has(wrong)) {
    const std::string found = !post.has(wrong) ? "no entry"
                              : post.has(key)  ? "Topk and MultiLabelThreshOutput"
                                               : wrong;
    throw BundleError(path + ": PostProcess has " + found + "; Output.task " + task + " needs " +
                      key + "; export the model again");
  }
  const Section entry = post.section(key);
  bundle.labels = entry.texts("label_list");
  if (bundle.multi_label) {
    entry.allow({"threshold", "label_list"});
    const bool is_list = entry.node("threshold").IsSequence();
    bundle.thresholds = entry.numbers("threshold");
    for (const double threshold : bundle.thresholds) {
      if (!(threshold > 0 && threshold < 1)) entry.refuse("threshold", "numbers between 0 and 1");
    }
    if (is_list) {
      require_count(entry.where("threshold"), bundle.thresholds.size(), "entries", classes);
    }
  } else {
    entry.allow({"topk", "label_list"});
    bundle.topk = entry.integer("topk", 1, 1 << 30);
  }
  require_count(entry.where("label_list"), bundle.labels.size(), "names", classes);
}

bool is_bare(const std::string& name) {
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
  return !name.empty() && name.size() <= 128 && name[0] != '.' &&
         name.find_first_not_of(kLetters) == name.npos;
}

void read_files(const Section& spec, Bundle& bundle) {
  const Section files = spec.section("files");
  for (const auto& entry : spec.node("files")) {
    const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
    const std::string checksum = entry.second.IsScalar() ? entry.second.Scalar() : "";
    const bool is_checksum =
        checksum.size() == 64 && checksum.find_first_not_of("0123456789abcdef") == checksum.npos;
    if (!is_bare(name) || !is_checksum) {
      spec.refuse("files", "bare file names and their SHA-256");
    }
    bundle.files[name] = checksum;
  }
}

void verify(const Bundle& bundle) {
  std::vector<std::string> own = kGraphs;
  own.emplace_back(kWeights);
  for (const auto& name : own) {
    const std::string path = bundle.folder + "/" + name;
    std::error_code error;
    if (bundle.files.count(name) == 0 && std::filesystem::exists(path, error)) {
      throw BundleError(path + ": not listed in " + kSpecFile +
                        ", so not of this export; remove it");
    }
  }
  for (const auto& [name, checksum] : bundle.files) {
    const std::string path = bundle.folder + "/" + name;
    if (!is_file(path)) throw BundleError(path + ": missing from the exported model");
    if (sha256(path) != checksum) {
      throw BundleError(path + ": changed since the export (its checksum differs)");
    }
  }
}

/// Read the file that PaddleClas 2.5 and later export: it states neither sizes nor checksums.
Bundle read_paddleclas(const YAML::Node& data, const std::string& path, Bundle bundle) {
  const std::string kind =
      path + ": no schema_version: not written by ppcls, nor by PaddleClas " + "for a classifier: ";
  if (!data.IsMap()) throw BundleError(kind + "expected a map");
  const Section spec(data, kind);
  spec.allow({"Global", "Hpi", "PreProcess", "PostProcess"});
  const Section process = spec.section("PreProcess");
  process.allow({"transform_ops"});
  const Section post = spec.section("PostProcess");
  post.allow({"Topk"});
  const Section entry = post.section("Topk");
  entry.allow({"topk", "label_list", "delimiter"});
  bundle.labels = entry.texts("label_list");
  bundle.topk = entry.has("topk") ? entry.integer("topk", 1, 1 << 30) : 5;
  bundle.gives_scores = true;
  bundle.pipeline =
      Pipeline::parse(process.node("transform_ops"), process.where("transform_ops"), 3);
  const cv::Size size = bundle.pipeline.output_size();
  if (size.empty()) {
    throw BundleError(path +
                      ": the transforms give images of different sizes; end them with a "
                      "fixed size (CropImage, or ResizeImage with size)");
  }
  bundle.height = size.height;
  bundle.width = size.width;
  return bundle;
}

}  // namespace

Bundle read_bundle(const std::string& folder) {
  Bundle bundle;
  bundle.folder = detail::plain_path(folder);
  std::error_code error;
  if (folder.find('\0') != folder.npos || !std::filesystem::is_directory(bundle.folder, error)) {
    throw BundleError(bundle.folder + ": no such folder; `ppcls export` makes one");
  }
  const std::string path = bundle.folder + "/" + kSpecFile;
  const auto has = [&bundle](const std::string& name) {
    return is_file(bundle.folder + "/" + name);
  };
  const bool has_graph = std::any_of(kGraphs.begin(), kGraphs.end(), has);
  const std::string remedy = "; `ppcls export` makes one";
  if (!is_file(path)) {
    if (!has_graph) {
      throw BundleError(bundle.folder + ": not an exported model: it has none of " +
                        detail::joined(kGraphs, ", ") + remedy);
    }
    throw BundleError(bundle.folder + ": an exported model without " + kSpecFile +
                      ", so from another tool, which the C++ library does not read; export it "
                      "with `ppcls export`");
  }
  const YAML::Node data = detail::load_yaml(path);
  const YAML::Node version = data.IsMap() ? data["schema_version"] : YAML::Node();
  if (!data.IsMap() || !version.IsDefined()) {
    bundle = read_paddleclas(data, path, std::move(bundle));
    if (has_graph) return bundle;
    throw BundleError(bundle.folder + ": not an exported model: it has none of " +
                      detail::joined(kGraphs, ", ") + remedy);
  }
  require_version(version, path);
  const Section spec(data, path + ": ");
  spec.allow({"schema_version", "Global", "card", "config_sha256", "precision", "Input", "Output",
              "parity", "versions", "files", "plugins", "PreProcess", "PostProcess"});
  if (spec.has("plugins") && spec.node("plugins").size() != 0) {
    throw BundleError(path + ": its transforms need a Python plug-in, which C++ cannot run");
  }
  if (spec.has("precision") && spec.text("precision") != "fp32") spec.refuse("precision", "fp32");
  read_input(spec.section("Input"), bundle);
  const Section process = spec.section("PreProcess");
  process.allow({"transform_ops"});
  bundle.pipeline = Pipeline::parse(process.node("transform_ops"), process.where("transform_ops"),
                                    bundle.channels);
  require_size(bundle, path);
  read_output(spec, path, bundle);
  read_files(spec, bundle);
  verify(bundle);
  return bundle;
}

}  // namespace ppcls
