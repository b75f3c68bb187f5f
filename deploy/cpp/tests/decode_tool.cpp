// Writes the pixels of images to standard output, for comparisons with Python's.
//
// Reads paths, one a line; writes for each a line `height width` and the RGB bytes, or a line
// `error …`.
#include <iostream>
#include <string>

#include "../src/text.h"
#include "ppcls/error.h"
#include "ppcls/image.h"

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string path; std::getline(std::cin, path);) {
    try {
      const cv::Mat image = ppcls::read_image(path).clone();  // continuous
      std::cout << image.rows << " " << image.cols << "\n";
      std::cout.write(reinterpret_cast<const char*>(image.data),
                      static_cast<std::streamsize>(image.total() * image.elemSize()));
    } catch (const ppcls::ImageError& error) {
      std::cout << "error " << ppcls::detail::printable(error.what()) << "\n";
    }
    std::cout.flush();
  }
}
