#include "ppcls/bundle.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <set>

#include "ppcls/error.h"
#include "yaml.h"

namespace ppcls {

namespace {

using detail::Section;

constexpr char kSpecFile[] = "inference.yml";
constexpr int kSchemaVersion = 2;
/// A file of 300,000 class names has 10 MB.
constexpr std::int64_t kMaxSpecBytes = std::int64_t{64} << 20;

bool is_file(const std::string& path) {
  struct stat facts {};
  return stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode);
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

YAML::Node load(const std::string& path) {
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0 || facts.st_size > kMaxSpecBytes) {
    throw BundleError(path + ": cannot be read: too large");
  }
  try {
    return YAML::LoadFile(path);
  } catch (const YAML::Exception& error) {
    std::string why = error.what();
    for (auto& c : why) c = c == '\n' ? ' ' : c;
    throw BundleError(path + ": cannot be read: " + why);
  }
}

void require_version(const YAML::Node& data, const std::string& path) {
  const YAML::Node found = data.IsMap() ? data["schema_version"] : YAML::Node();
  if (!data.IsMap() || !found.IsDefined() || found.IsNull()) {
    throw BundleError(path +
                      ": no schema_version: not written by ppcls, or not an exported model");
  }
  int version = 0;
  const bool is_number = found.IsScalar() && YAML::convert<int>::decode(found, version);
  if (is_number && version == kSchemaVersion) return;
  throw BundleError(path + ": schema_version is " +
                    (found.IsScalar() ? found.Scalar().substr(0, 60) : "no number") +
                    "; this version of the C++ library reads " + std::to_string(kSchemaVersion) +
                    (version > kSchemaVersion ? ": it needs a newer library"
                                              : ": export the model again"));
}

void read_input(const Section& input, Bundle& bundle) {
  input.allow({"name", "shape", "dtype", "layout", "color", "range", "decode"});
  bundle.input_name = input.text("name");
  const std::string dtype = input.has("dtype") ? input.text("dtype") : "float32";
  const std::string layout = input.has("layout") ? input.text("layout") : "NCHW";
  bundle.takes_pixels = dtype == "uint8";
  if (!(dtype == "float32" && layout == "NCHW") && !(dtype == "uint8" && layout == "NHWC")) {
    throw BundleError(input.where("dtype") + ": " + dtype + " " + layout +
                      " is neither float32 NCHW nor uint8 NHWC");
  }
  if (input.has("color") && input.text("color") != "RGB") input.refuse("color", "RGB");
  const auto shape = input.integers("shape", -1, 1 << 20);
  if (shape.size() != 4) input.refuse("shape", "four numbers");
  const int channels = shape[bundle.takes_pixels ? 3 : 1];
  bundle.height = shape[bundle.takes_pixels ? 1 : 2];
  bundle.width = shape[bundle.takes_pixels ? 2 : 3];
  if (channels != 3 || bundle.height < 1 || bundle.width < 1) {
    input.refuse("shape", "images with three channels");
  }
  if (!input.has("decode")) return;
  const Section decode = input.section("decode");
  decode.allow({"DecodeImage"});
  if (decode.has("DecodeImage")) decode.section("DecodeImage").allow({});
}

void read_labels(const Section& top, Bundle& bundle) {
  top.allow({"topk", "label_list"});
  bundle.topk = top.integer("topk", 1, 1 << 30);
  const YAML::Node labels = top.node("label_list");
  if (!labels.IsSequence()) top.refuse("label_list", "a list of names");
  bundle.labels.reserve(labels.size());
  for (const auto& label : labels) {
    if (!label.IsScalar()) top.refuse("label_list", "a list of names");
    bundle.labels.push_back(label.Scalar());
  }
  if (static_cast<int>(bundle.labels.size()) != bundle.classes) {
    throw BundleError(top.where("label_list") + " has " + std::to_string(bundle.labels.size()) +
                      " names, but the graph outputs " + std::to_string(bundle.classes) +
                      " classes");
  }
}

void read_files(const Section& spec, Bundle& bundle) {
  const YAML::Node files = spec.node("files");
  if (!files.IsMap() || files.size() == 0) spec.refuse("files", "a map of names to checksums");
  for (const auto& entry : files) {
    const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
    const bool is_bare = !name.empty() && name.find_first_of("/\\") == name.npos &&
                         name.find('\0') == name.npos && name != "." && name != "..";
    if (!is_bare || !entry.second.IsScalar()) {
      spec.refuse("files", "bare file names and their checksums");
    }
    bundle.files[name] = entry.second.Scalar();
  }
}

void verify(const Bundle& bundle) {
  for (const auto& [name, checksum] : bundle.files) {
    const std::string path = bundle.folder + "/" + name;
    if (!is_file(path)) throw BundleError(path + ": missing from the exported model");
    if (sha256(path) != checksum) {
      throw BundleError(path + ": changed since the export (its checksum differs)");
    }
  }
}

}  // namespace

Bundle read_bundle(const std::string& folder) {
  struct stat facts {};
  if (folder.find('\0') != folder.npos || stat(folder.c_str(), &facts) != 0 ||
      !S_ISDIR(facts.st_mode)) {
    throw BundleError(folder + ": no such folder; `ppcls export` makes one");
  }
  const std::string path = folder + "/" + kSpecFile;
  if (!is_file(path)) {
    throw BundleError(folder + ": not an exported model: it has no " + kSpecFile +
                      "; `ppcls export` makes one");
  }
  const YAML::Node data = load(path);
  require_version(data, path);
  const Section spec(data, path + ": ");
  spec.allow({"schema_version", "Global", "card", "config_sha256", "precision", "Input", "Output",
              "parity", "versions", "files", "plugins", "PreProcess", "PostProcess"});
  if (spec.has("plugins") && spec.node("plugins").size() != 0) {
    throw BundleError(path + ": its transforms need a Python plug-in, which C++ cannot run");
  }
  Bundle bundle;
  bundle.folder = folder;
  bundle.model_name = spec.section("Global").text("model_name");
  bundle.precision = spec.has("precision") ? spec.text("precision") : "fp32";
  if (bundle.precision != "fp32") spec.refuse("precision", "fp32");
  read_input(spec.section("Input"), bundle);
  const Section output = spec.section("Output");
  output.allow({"classes", "softmax", "features"});
  bundle.classes = output.integer("classes", 1, 1 << 30);
  bundle.softmax = output.boolean("softmax", false);
  bundle.features = output.boolean("features", false);
  const Section process = spec.section("PreProcess");
  process.allow({"transform_ops"});
  bundle.pipeline =
      Pipeline::parse(process.node("transform_ops"), process.where("transform_ops"));
  const Section post = spec.section("PostProcess");
  post.allow({"Topk"});
  read_labels(post.section("Topk"), bundle);
  read_files(spec, bundle);
  verify(bundle);
  return bundle;
}

}  // namespace ppcls
