// The recorded images, tensors and predictions, which Python's tests read, too.
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "catch.h"
#include "ppcls/error.h"
#include "ppcls/image.h"
#include "ppcls/predictor.h"

namespace {

using nlohmann::json;

const json& recorded() {
  static const json kRecorded = json::parse(read_text(vectors("vectors.json")));
  return kRecorded;
}

/// Return the bytes of a recorded array; the string lives as long as the program.
const char* bytes(const json& place) {
  static const std::string kArrays = read_text(vectors("arrays.bin"));
  return kArrays.data() + place["offset"].get<std::size_t>();
}

cv::Mat pixels(const json& place) {
  const auto shape = place["shape"].get<std::vector<int>>();
  return {shape[0], shape[1], CV_8UC(shape[2]), const_cast<char*>(bytes(place))};
}

/// Return the largest difference of two images; 256 if their shapes differ.
double difference(const cv::Mat& a, const cv::Mat& b) {
  if (a.size() != b.size() || a.type() != b.type()) return 256;
  return cv::norm(a, b, cv::NORM_INF);
}

ppcls::Pipeline pipeline(const json& record) {
  return ppcls::Pipeline::parse(YAML::Load(record["transform_ops"].dump()), "transform_ops",
                                record["channels"]);
}

}  // namespace

TEST_CASE("images have Python's pixels, or are refused", "[vectors]") {
  for (const auto& record : recorded()["images"]) {
    const std::string name = record["file"];
    INFO(name);
    const bool is_gif = name == "gif.gif";
    if (record.contains("error") || is_gif) {
      const std::string error = error_of([&] { ppcls::read_image(image(name)); });
      CHECK(error.rfind(image(name) + ": ", 0) == 0);
      const json recognised = is_gif ? json("GIF") : record["recognised"];
      if (recognised.is_string()) {
        CHECK(error.find("(recognised as " + recognised.get<std::string>() + ")") != error.npos);
      }
      continue;
    }
    const double most = name.rfind("jpeg", 0) == 0 ? 1 : 0;
    CHECK(difference(ppcls::read_image(image(name)), pixels(record["pixels"])) <= most);
  }
}

TEST_CASE("each transform gives Python's pixels within one level", "[vectors]") {
  for (const auto& record : recorded()["transforms"]) {
    INFO(record["name"]);
    const auto& stages = record["stages"];
    ppcls::DecodeOptions options;
    options.channels = record["channels"];
    const std::string source = image(record["image"]);
    CHECK(difference(ppcls::read_image(source, options), pixels(stages[0])) <= 1);
    const auto given = pipeline(record);
    REQUIRE(given.transforms().size() + 1 == stages.size());
    for (std::size_t i = 0; i + 1 < stages.size(); ++i) {
      const cv::Mat before = pixels(stages[i]);
      CHECK(difference((*given.transforms()[i])(before), pixels(stages[i + 1])) <= 1);
    }
  }
}

TEST_CASE("equal pixels give Python's tensor", "[vectors]") {
  for (const auto& record : recorded()["transforms"]) {
    INFO(record["name"]);
    const cv::Mat last = pixels(record["stages"].back());
    std::vector<float> tensor(last.total() * last.channels());
    pipeline(record).normalize(last, tensor.data());
    const auto* expected = reinterpret_cast<const float*>(bytes(record["tensor"]));
    double largest = 0;
    for (std::size_t i = 0; i < tensor.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(tensor[i]) - expected[i]));
    }
    CHECK(largest <= 1e-6);
  }
}

TEST_CASE("networks give Python's predictions on every backend", "[vectors]") {
  for (const auto& backend : ppcls::backends()) {
    for (const auto& record : recorded()["bundles"]) {
      ppcls::PredictorOptions options;
      options.backend = backend;
      options.threads = 1;
      options.batch_size = 5;
      const ppcls::Predictor predictor(bundle(record["folder"]), options);
      std::vector<ppcls::Source> sources;
      std::vector<json> expected;
      for (const auto& one : record["records"]) {
        if (one["filename"] == "gif.gif") continue;
        expected.push_back(one);
        sources.push_back(ppcls::Source::path(image(one["filename"])));
      }
      const auto results = predictor.predict(sources);
      for (std::size_t i = 0; i < results.size(); ++i) {
        INFO(backend << " " << record["folder"] << " " << results[i].source);
        CHECK_FALSE(results[i].error.has_value());
        CHECK(json(results[i].class_ids) == expected[i]["class_ids"]);
        CHECK(json(results[i].label_names) == expected[i]["label_names"]);
        const auto scores = expected[i]["scores"].get<std::vector<double>>();
        REQUIRE(scores.size() == results[i].scores.size());
        for (std::size_t k = 0; k < scores.size(); ++k) {
          CHECK(std::abs(scores[k] - results[i].scores[k]) <= 1e-4);
        }
        // The record has the same keys in the same order.
        const auto line = nlohmann::ordered_json::parse(results[i].to_json());
        const auto keys = nlohmann::ordered_json::parse(expected[i].dump());
        CHECK(line.size() == keys.size());
      }
    }
  }
}
