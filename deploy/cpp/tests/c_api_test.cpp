#include "catch.h"
#include "ppcls/ppcls.h"

TEST_CASE("C programs predict, and read errors", "[c_api]") {
  CHECK(ppcls_open(nullptr, nullptr, 1) == nullptr);
  CHECK(std::string(ppcls_last_error()) == "the folder is NULL");
  CHECK(ppcls_open("nowhere", nullptr, 1) == nullptr);
  CHECK(std::string(ppcls_last_error()) == "nowhere: no such folder; `ppcls export` makes one");
  ppcls_predictor* predictor = ppcls_open(bundle("single_label").c_str(), nullptr, 1);
  REQUIRE(predictor != nullptr);
  CHECK(std::string(ppcls_last_error()).empty());
  ppcls_class classes[2];
  CHECK(ppcls_predict(predictor, image("png_rgb.png").c_str(), classes, 2) == 2);
  CHECK(classes[0].score > classes[1].score);
  CHECK(std::string(classes[0].label_name).size() > 0);
  CHECK(ppcls_predict(predictor, "missing.png", classes, 2) == -1);
  CHECK(std::string(ppcls_last_error()) ==
        "missing.png: cannot read the image: No such file or directory");
  const std::string bytes = read_text(image("jpeg_420.jpg"));
  CHECK(ppcls_predict_bytes(predictor, bytes.data(), bytes.size(), classes, 1) == 1);
  CHECK(ppcls_predict_bytes(predictor, "", 0, classes, 1) == -1);
  CHECK(ppcls_predict(predictor, nullptr, classes, 1) == -1);
  CHECK(ppcls_predict(predictor, "x", nullptr, 1) == -1);
  CHECK(ppcls_predict(nullptr, "x", classes, 1) == -1);
  ppcls_close(predictor);
  ppcls_close(nullptr);
}
