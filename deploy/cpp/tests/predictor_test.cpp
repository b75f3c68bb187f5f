#include "ppcls/predictor.h"

#include "catch.h"
#include "ppcls/error.h"

namespace {

ppcls::PredictorOptions few_threads() {
  ppcls::PredictorOptions options;
  options.threads = 1;
  options.workers = 2;
  return options;
}

std::string refusal(const ppcls::PredictorOptions& options) {
  return error_of([&] { const ppcls::Predictor predictor(bundle("single_label"), options); });
}

}  // namespace

TEST_CASE("unreadable images between good ones change no other result", "[predictor]") {
  auto options = few_threads();
  options.batch_size = 2;
  const ppcls::Predictor predictor(bundle("single_label"), options);
  const auto alone = predictor.predict({ppcls::Source::path(image("png_rgb.png"))});
  std::vector<ppcls::Source> sources;
  for (int i = 0; i < 20; ++i) {
    sources.push_back(ppcls::Source::path(i % 3 == 0 ? "missing.png" : image("png_rgb.png")));
  }
  const auto results = predictor.predict(sources);
  REQUIRE(results.size() == sources.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i % 3 == 0) {
      CHECK(results[i].error == "missing.png: cannot read the image: No such file or directory");
      CHECK(results[i].class_ids.empty());
    } else {
      CHECK(results[i].class_ids == alone[0].class_ids);
      CHECK(results[i].logits.size() == 5);
    }
  }
  CHECK(predictor.predict(std::vector<ppcls::Source>{}).empty());
}

TEST_CASE("bytes are an image with a name", "[predictor]") {
  const ppcls::Predictor predictor(bundle("single_label"), few_threads());
  const std::string text = read_text(image("png_rgb.png"));
  const auto results = predictor.predict({ppcls::Source::bytes({text.begin(), text.end()}, "mine"),
                                          ppcls::Source::bytes({}, "nothing")});
  CHECK(results[0].source == "mine");
  CHECK_FALSE(results[0].error.has_value());
  CHECK(results[1].error == "nothing: the image file is empty");
}

TEST_CASE("options choose the classes of a result", "[predictor]") {
  auto options = few_threads();
  options.topk = 2;
  const auto best = [&](const std::string& name) {
    return ppcls::Predictor(bundle(name), options)
        .predict({ppcls::Source::path(image("png_rgb.png"))})[0];
  };
  CHECK(best("single_label").class_ids.size() == 2);
  options.threshold = 1.0;
  CHECK(best("single_label").class_ids.empty());
  options.threshold = 0.0;
  options.topk = 0;
  CHECK(best("multi_label").class_ids.size() == 5);
}

TEST_CASE("impossible options are refused", "[predictor]") {
  auto options = few_threads();
  options.backend = "tnn";
  CHECK(refusal(options).rfind("no such backend: 'tnn'; known: ", 0) == 0);
  options = few_threads();
  options.device = "npu";
  CHECK(refusal(options) == "device must be auto, cpu or gpu, not 'npu'");
  options = few_threads();
  options.threshold = 1.5;
  CHECK(refusal(options) == "threshold must be a score, 0 to 1");
  options = few_threads();
  options.batch_size = 0;
  CHECK(refusal(options) == "batch_size must be 1 or more");
}
