#include <cstdio>

#include "name.h"
#include "report.h"
#include "scratch_dir.h"
#include "tar_bytes.h"

namespace bulkhead::unpack {
namespace {

int passed = 0;
int failed = 0;

void check(bool held, const char* what, int line) {
  held ? ++passed : ++failed;
  if (!held) std::printf("unpack_test.cc:%d: %s\n", line, what);
}
#define CHECK(condition) check((condition), #condition, __LINE__)

bool refused(Status status, std::string_view code) {
  if (!status.ok() && status.failure().code == code && status.failure().fault == Fault::kLayer) return true;
  std::printf("  got %s", status.ok() ? "success\n" : failure_line(status.failure()).c_str());
  return false;
}

bool applied(Status status) {
  if (!status.ok()) std::printf("  %s", failure_line(status.failure()).c_str());
  return status.ok();
}

void names_are_normalised() {
  Result<EntryName> name = parse_name("./usr//lib/./x/");
  CHECK(name.ok() && name.value().parent == "usr/lib" && name.value().leaf == "x");
  name = parse_name("/etc/passwd");
  CHECK(name.ok() && name.value().parent == "etc" && name.value().leaf == "passwd");
  name = parse_name("./");
  CHECK(name.ok() && name.value().leaf.empty());
  name = parse_name("a/.wh.b");
  CHECK(name.ok() && name.value().kind == NameKind::kWhiteout && name.value().leaf == "b");
  name = parse_name("a/.wh..wh..opq");
  CHECK(name.ok() && name.value().kind == NameKind::kOpaque && name.value().parent == "a");
  name = parse_name(".wh..wh.plnk/12.34");
  CHECK(name.ok() && name.value().kind == NameKind::kMetadata);
  CHECK(!parse_name("").ok());
  CHECK(!parse_name("a/../b").ok());
  CHECK(!parse_name("..").ok());
  CHECK(!parse_name(".wh...").ok());
  CHECK(!parse_name("a/.wh..").ok());
  CHECK(!parse_name(".wh.").ok());
  CHECK(!parse_name(".wh.a/b").ok());
  CHECK(!parse_name(std::string(256, 'a')).ok());
  CHECK(!parse_name(std::string(5000, '/') + "a").ok());
}

void reports_are_valid_json() {
  CHECK(json_string("a\"\\\n\x7f\xff") == "\"a\\\"\\\\\\u000a\\u007f\\u00ff\"");
  CHECK(json_string("\xc3\xa9") == "\"\xc3\xa9\"");
  CHECK(json_string("\xc0\xaf") == "\"\\u00c0\\u00af\"");
  CHECK(json_string("\xed\xa0\x80").find("\\u00ed") != std::string::npos);
}

void attributes_are_kept(const char* parent) {
  ScratchDir dir(parent);
  TarBytes tar;
  tar.add({.name = "d", .type = '5', .data = {}, .link = {}, .mode = 01777, .modified = 1'111'111'111});
  tar.add({.name = "d/suid", .data = "x", .link = {}, .mode = 04755, .uid = 12, .gid = 34});
  tar.pax({{"path", "long/" + std::string(200, 'n') + "/\xc3\xa9"},
           {"SCHILY.xattr.user.note", "kept"},
           {"SCHILY.xattr.trusted.overlay.opaque", "y"},
           {"SCHILY.xattr.user.overlay.redirect", "/etc"},
           {"mtime", "1222222222.5"}});
  tar.add({.name = "short", .data = "long", .link = {}});
  tar.add({.name = "pipe", .type = '6', .data = {}, .link = {}, .mode = 0620});
  CHECK(applied(dir.apply(tar.end())));
  const auto info = dir.info("d/suid");
  CHECK((info.st_mode & 07777) == 04755 && info.st_uid == 12 && info.st_gid == 34 && info.st_mtime == 1'000'000'000);
  CHECK(dir.info("d").st_mtime == 1'111'111'111 && (dir.info("d").st_mode & 07777) == 01777);
  const std::string name = "long/" + std::string(200, 'n') + "/\xc3\xa9";
  CHECK(dir.read(name) == "long" && dir.info(name).st_mtime == 1'222'222'222);
  char value[8];
  CHECK(::getxattr(dir.path(name).c_str(), "user.note", value, sizeof value) == 4);
  CHECK(::getxattr(dir.path(name).c_str(), "user.overlay.redirect", value, sizeof value) < 0);
  CHECK(::getxattr(dir.path(name).c_str(), "trusted.overlay.opaque", value, sizeof value) < 0);
  CHECK(dir.totals.skipped_xattrs == 2);
  CHECK(S_ISFIFO(dir.info("pipe").st_mode) && (dir.info("pipe").st_mode & 07777) == 0620);
}

void sparse_files_keep_their_holes(const char* parent) {
  ScratchDir dir(parent);
  TarBytes tar;  // GNU sparse 1.0: the map is the head of the data, padded to a block
  std::string data = "1\n1048576\n4\n";
  data.resize(512, '\0');
  tar.pax({{"GNU.sparse.major", "1"},
           {"GNU.sparse.minor", "0"},
           {"GNU.sparse.name", "sparse"},
           {"GNU.sparse.realsize", "4194304"}});
  tar.add({.name = "GNUSparseFile.0/sparse", .data = data + "tail", .link = {}});
  CHECK(applied(dir.apply(tar.end())));
  const auto info = dir.info("sparse");
  CHECK(info.st_size == 4194304 && info.st_blocks * 512 < 65536);
  CHECK(dir.read("sparse").substr(1048576, 4) == "tail");
  CHECK(dir.totals.bytes < 8192);
}

void later_entries_replace_earlier_ones(const char* parent) {
  ScratchDir dir(parent);
  TarBytes tar;
  tar.add({.name = "a/b/c", .data = "deep", .link = {}});
  tar.add({.name = "a", .data = "file over directory", .link = {}});
  tar.add({.name = "f", .data = "1", .link = {}});
  tar.add({.name = "f", .data = "2", .link = {}});
  tar.add({.name = "g", .data = "file", .link = {}});
  tar.add({.name = "g", .type = '5', .data = {}, .link = {}, .mode = 0700});
  tar.add({.name = "g/x", .data = "in it", .link = {}});
  tar.add({.name = "s", .type = '2', .data = {}, .link = "g"});
  tar.add({.name = "s/y", .data = "through", .link = {}});
  tar.add({.name = "s", .type = '5', .data = {}, .link = {}, .mode = 0755});
  tar.add({.name = "s/z", .data = "own", .link = {}});
  CHECK(applied(dir.apply(tar.end())));
  CHECK(dir.read("a") == "file over directory" && dir.read("f") == "2");
  CHECK(dir.read("g/x") == "in it" && dir.read("g/y") == "through");
  CHECK(S_ISDIR(dir.info("s").st_mode) && dir.read("s/z") == "own" && !dir.exists("g/z"));
}

void whiteouts_hide_lower_layers_only(const char* parent) {
  ScratchDir dir(parent);
  TarBytes tar;
  tar.add({.name = "etc/.wh.gone", .data = {}, .link = {}});
  tar.add({.name = "own/file", .data = "x", .link = {}});
  tar.add({.name = ".wh.own", .data = {}, .link = {}});
  tar.add({.name = ".wh.again", .data = {}, .link = {}});
  tar.add({.name = "again/implied", .data = "y", .link = {}});
  tar.add({.name = "all/.wh..wh..opq", .data = {}, .link = {}});
  tar.add({.name = "kept", .data = "z", .link = {}});
  tar.add({.name = ".wh.kept", .data = {}, .link = {}});
  tar.add({.name = ".wh..wh.plnk/1", .data = {}, .link = {}});
  CHECK(applied(dir.apply(tar.end())));
  CHECK(is_whiteout(dir.info("etc/gone")));
  CHECK(dir.read("own/file") == "x" && dir.opaque("own"));
  CHECK(dir.read("again/implied") == "y" && dir.opaque("again"));
  CHECK(dir.opaque("all") && !dir.exists("all/.wh..wh..opq"));
  CHECK(dir.read("kept") == "z" && !dir.totals.opaque_root);
  CHECK(!dir.exists(".wh..wh.plnk"));
  ScratchDir other(parent);
  CHECK(applied(other.apply(TarBytes().add({.name = ".wh..wh..opq", .data = {}, .link = {}}).end())));
  CHECK(other.totals.opaque_root);
}

void nothing_leaves_the_root(const char* parent) {
  ScratchDir dir(parent);
  const std::string outside = dir.outside();
  CHECK(refused(dir.apply(TarBytes().add({.name = "../outside/secret", .data = "x", .link = {}}).end()), "escape"));
  CHECK(
      refused(dir.apply(TarBytes().add({.name = "a/../../outside/secret", .data = "x", .link = {}}).end()), "escape"));
  CHECK(applied(dir.apply(TarBytes().add({.name = outside + "/secret", .data = "inside", .link = {}}).end())));
  CHECK(dir.read(outside.substr(1) + "/secret") == "inside");
  TarBytes links;
  links.add({.name = "abs", .type = '2', .data = {}, .link = outside});
  links.add({.name = "abs/secret", .data = "contained", .link = {}});
  links.add({.name = "up", .type = '2', .data = {}, .link = "../../../../../../../../../../../../outside"});
  links.add({.name = "up/new", .data = "contained", .link = {}});
  CHECK(applied(dir.apply(links.end())));
  CHECK(dir.read(outside.substr(1) + "/secret") == "contained");
  CHECK(dir.read("outside/new") == "contained");
  TarBytes over;
  over.add({.name = "file", .type = '2', .data = {}, .link = outside + "/secret"});
  over.add({.name = "file", .data = "replaced, not followed", .link = {}});
  CHECK(applied(dir.apply(over.end())));
  CHECK(dir.read("file") == "replaced, not followed");
  TarBytes loop;
  loop.add({.name = "l1", .type = '2', .data = {}, .link = "l2"});
  loop.add({.name = "l2", .type = '2', .data = {}, .link = "l1"});
  loop.add({.name = "l1/x", .data = "x", .link = {}});
  CHECK(refused(dir.apply(loop.end()), "link"));
  CHECK(dir.secret() == "untouched");
}

void hard_links_stay_in_the_layer(const char* parent) {
  ScratchDir dir(parent);
  TarBytes good;
  good.add({.name = "a/one", .data = "same", .link = {}});
  good.add({.name = "two", .type = '1', .data = {}, .link = "./a/one"});
  good.add({.name = "two", .type = '1', .data = {}, .link = "two"});
  good.add({.name = "sym", .type = '2', .data = {}, .link = dir.outside() + "/secret"});
  good.add({.name = "hard-to-sym", .type = '1', .data = {}, .link = "sym"});
  good.add({.name = "hard-to-sym", .data = "replaced", .link = {}});
  CHECK(applied(dir.apply(good.end())));
  CHECK(dir.info("a/one").st_ino == dir.info("two").st_ino && dir.info("two").st_nlink == 2);
  CHECK(dir.read("hard-to-sym") == "replaced" && dir.link("sym") == dir.outside() + "/secret");
  const auto hard = [&](const std::string& link) {
    return dir.apply(TarBytes().add({.name = "h", .type = '1', .data = {}, .link = link}).end());
  };
  CHECK(refused(hard("../outside/secret"), "escape"));
  CHECK(refused(hard(dir.outside() + "/secret"), "link"));
  CHECK(refused(hard("missing"), "link"));
  CHECK(refused(hard("a"), "link"));
  CHECK(refused(dir.apply(TarBytes().add({.name = "a", .type = '1', .data = {}, .link = "a/one"}).end()), "link"));
  CHECK(dir.secret() == "untouched");
}

void devices_are_never_made(const char* parent) {
  ScratchDir dir(parent);
  TarBytes tar;
  tar.add({.name = "null", .type = '3', .data = {}, .link = {}});
  tar.add({.name = "disk", .type = '4', .data = {}, .link = {}});
  tar.add({.name = "after", .data = "x", .link = {}});
  CHECK(applied(dir.apply(tar.end())));
  CHECK(!dir.exists("null") && !dir.exists("disk") && dir.read("after") == "x");
  CHECK(dir.totals.skipped_devices == 2);
}

void limits_hold(const char* parent) {
  ScratchDir dir(parent);
  const std::string big = TarBytes().add({.name = "big", .data = std::string(5000, 'x'), .link = {}}).end();
  CHECK(refused(dir.apply(big, {.max_bytes = 4999}), "tooLarge"));
  CHECK(applied(dir.apply(big, {.max_bytes = 5000})));
  std::string path;
  for (int depth = 0; depth < 40; ++depth) path += "d/";
  const std::string deep = TarBytes().add({.name = path + "f", .data = {}, .link = {}}).end();
  CHECK(refused(dir.apply(deep, {.max_bytes = 1, .max_entries = 40}), "tooMany"));
}

void damaged_archives_are_refused(const char* parent) {
  ScratchDir dir(parent);
  CHECK(applied(dir.apply("")));
  CHECK(applied(dir.apply(std::string(1024, '\0'))));
  CHECK(refused(dir.apply("this is no tar archive, but it is long enough to be asked about it"), "malformed"));
  const std::string whole = TarBytes().add({.name = "f", .data = std::string(4096, 'x'), .link = {}}).unfinished();
  CHECK(refused(dir.apply(whole.substr(0, 1024)), "malformed"));
  CHECK(refused(dir.apply(whole.substr(0, 300)), "malformed"));
  CHECK(refused(dir.apply(TarBytes()
                              .add({.name = "f/", .type = '5', .data = {}, .link = {}})
                              .add({.name = "f", .data = "x", .link = {}})
                              .add({.name = "f/x", .data = "x", .link = {}})
                              .end()),
                "conflict"));
  CHECK(refused(dir.apply(TarBytes().add({.name = ".", .data = "x", .link = {}}).end()), "conflict"));
}

void deep_trees_are_removed(const char* parent) {
  ScratchDir dir(parent);
  Fd at = dir.root();
  for (int depth = 0; depth < 6000; ++depth) {  // 6,000 levels are a path of 12,000 bytes
    CHECK(::mkdirat(at.get(), "d", 0755) == 0);
    at = open_leaf(at, "d", O_RDONLY | O_DIRECTORY);
  }
  CHECK(applied(dir.apply(TarBytes().add({.name = "d", .data = "flat", .link = {}}).end())));
  CHECK(dir.read("d") == "flat");
  CHECK(!dir.exists(kTrashName));
}

}  // namespace
}  // namespace bulkhead::unpack

int main() {
  using namespace bulkhead::unpack;
  ::umask(0);
  const char* parent = std::getenv("TMPDIR");
  if (parent == nullptr) parent = "/tmp";
  names_are_normalised();
  reports_are_valid_json();
  for (const auto test : {attributes_are_kept, sparse_files_keep_their_holes, later_entries_replace_earlier_ones,
                          whiteouts_hide_lower_layers_only, nothing_leaves_the_root, hard_links_stay_in_the_layer,
                          devices_are_never_made, limits_hold, damaged_archives_are_refused, deep_trees_are_removed}) {
    test(parent);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
