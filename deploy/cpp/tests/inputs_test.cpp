#include "ppcls/inputs.h"

#include "../src/text.h"
#include "catch.h"
#include "ppcls/error.h"

namespace {

namespace fs = std::filesystem;

std::vector<std::string> found(const std::string& name) {
  std::vector<std::string> paths;
  for (const auto& one : ppcls::find_inputs({name})) paths.push_back(one.path);
  return paths;
}

std::string refusal(const std::string& name) {
  return error_of([&] { ppcls::find_inputs({name}); });
}

}  // namespace

TEST_CASE("a folder gives its images, sorted by name", "[inputs]") {
  const Folder folder;
  for (const auto* name : {"b.JPG", "a/2.png", "a/1.npy", "a.png", ".hidden.png", "__MACOSX/x.png",
                           "Thumbs.db", "notes.txt", ".git/x.png", "c/.jpg"}) {
    folder.write(name, "");
  }
  CHECK(found(folder.path()) == std::vector<std::string>{folder / "a/1.npy", folder / "a/2.png",
                                                         folder / "a.png", folder / "b.JPG"});
  fs::create_directory_symlink(folder / "a", folder / "d");
  CHECK(found(folder.path()).size() == 4);  // each folder once
  fs::create_directory_symlink(folder.path(), folder / "a/loop");
  CHECK(refusal(folder.path()) == folder / "a/loop" + ": a link to " +
                                      fs::canonical(folder.path()).string() +
                                      ", which holds it; remove the link");
  const Folder empty;
  CHECK(refusal(empty.path())
            .rfind(empty.path() + ": no images in this folder (looked for .apng, .avif, ", 0) == 0);
}

TEST_CASE("a list gives images and labels relative to itself", "[inputs]") {
  const Folder folder;
  folder.write("of 3", "");
  const std::string list =
      folder.write("list.txt",
                   "\xEF\xBB\xBF"
                   "a b.png 12 \r\n\n./c.png\n/abs//d.png\t-1\rof 3\ne.png 0,1,0\nf.png 0,2\n");
  const auto inputs = ppcls::find_inputs({list});
  REQUIRE(inputs.size() == 6);
  CHECK(inputs[0].path == folder / "a b.png");
  CHECK(inputs[0].label == std::vector<long>{12});
  CHECK(inputs[1].path == folder / "c.png");
  CHECK(inputs[1].label.empty());
  CHECK(inputs[2].path == "/abs/d.png");
  CHECK(inputs[2].label == std::vector<long>{-1});
  CHECK(inputs[3].path == folder / "of 3");  // that file exists
  CHECK(inputs[4].label == std::vector<long>{0, 1, 0});
  CHECK(inputs[5].path == folder / "f.png 0,2");
}

TEST_CASE("lists that cannot be right are refused as by Python", "[inputs]") {
  const Folder folder;
  const auto with = [&folder](const std::string& text) {
    return refusal(folder.write("list.txt", text)).substr(folder.path().size() + 1);
  };
  CHECK(with("") == "list.txt: the image list is empty");
  CHECK(with("a.png\n\xff.png\n") == "list.txt:2: the image list is not UTF-8 (byte 0)");
  CHECK(with("a.png\nb.csv\n").find("/b.csv is another list; every line names one image") !=
        std::string::npos);
  fs::create_directory(folder / "sub");
  CHECK(with("sub\n").find("/sub is a folder; every line names one image") != std::string::npos);
  CHECK(with(std::string((1 << 20) + 1, 'x')) ==
        "list.txt:1: the line is longer than 1 MiB; is this an image list?");
  CHECK(refusal(folder / "none") == folder / "none" + ": no such file or folder");
  fs::create_symlink("gone", folder / "link");
  CHECK(refusal(folder / "link") == folder / "link" + ": no such file or folder (a link to gone)");
}

TEST_CASE("text is shown without control of the terminal", "[inputs]") {
  using ppcls::detail::plain_path;
  using ppcls::detail::printable;
  using ppcls::detail::quoted;
  CHECK(printable("a\n\x1b[2J\xe2\x80\xae\xc3\xa9\xe9") == "a\\n\\x1b[2J\\u202e\xc3\xa9\\udce9");
  CHECK(quoted("\"\xe9\n\xc3\xa9") == "\"\\\"\\udce9\\n\xc3\xa9\"");
  CHECK(plain_path("a//./b/../c/") == "a/b/../c");
  CHECK(plain_path("./") == ".");
  CHECK(plain_path("///x") == "/x");
}
