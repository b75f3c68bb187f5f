// Prints the best classes of images: predict BUNDLE IMAGE...
#include <iostream>

#include "ppcls/error.h"
#include "ppcls/predictor.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: predict BUNDLE IMAGE...\n";
    return 2;
  }
  try {
    ppcls::PredictorOptions options;
    options.batch_size = 8;
    const ppcls::Predictor predictor(argv[1], options);

    std::vector<ppcls::Source> images;
    for (int i = 2; i < argc; ++i) images.push_back(ppcls::Source::path(argv[i]));

    predictor.predict(images, [](const ppcls::Result& result) {
      std::cout << result.source << ":";
      if (result.error) std::cout << " " << *result.error;
      for (std::size_t i = 0; i < result.scores.size(); ++i) {
        std::cout << " " << result.label_names[i] << " " << result.scores[i];
      }
      std::cout << "\n";
    });
  } catch (const ppcls::Error& error) {
    std::cerr << "error: " << error.what() << "\n";
    return error.exit_status();
  }
}
