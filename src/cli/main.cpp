/// The `tessera` program: one verb a file, each registered in verbs.h.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cli/config_file.h"
#include "cli/help_formatter.h"
#include "cli/rank_flags.h"
#include "cli/suggestion.h"
#include "cli/verbs.h"
#include "image/decoding_process.h"
#include "runtime/failure.h"
#include "runtime/heap.h"
#include "runtime/log.h"
#include "runtime/mapped_file.h"
#include "runtime/stop_signal.h"
#include "runtime/version.h"
#include "server/model_process.h"

namespace {

int fail_with(int status, std::string text) {
  std::fprintf(stderr, "tessera: %s\n", tessera::one_line(std::move(text)).c_str());
  return status;
}

int status_of(tessera::FailureKind kind) {
  switch (kind) {
    case tessera::FailureKind::usage:
      return 2;
    case tessera::FailureKind::interrupted:
      return tessera::kInterruptedStatus;
    default:
      return 1;
  }
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  return names;
}

/// What may have been meant by the first word that no option or verb took.
std::string suggestion_for(const CLI::App& app) {
  const auto* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const auto left = at->remaining();
  if (left.empty()) return {};
  const auto typed = left.front().substr(0, left.front().find('='));
  if (!typed.starts_with("-")) return tessera::cli::did_you_mean(typed, verbs_of(*at));
  std::vector<std::string> flags;
  for (const auto* option : at->get_options()) {
    for (const auto& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return tessera::cli::did_you_mean(typed, flags);
}

/// Every verb has put its own things away when this is called. What LibTorch's libraries would do now, taking their
/// thousands of operators apart one by one, is 0.1 s of nobody's use.
[[noreturn]] void leave(int status) {
  std::fflush(nullptr);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::exit(status);  // leaks and races count at the end of an orderly exit
#else
  std::_Exit(status);
#endif
}

int run(int argc, char** argv) {
  CLI::App app{"tessera: train, sample, edit and measure discrete diffusion image models", "tessera"};
  app.set_version_flag("--version", tessera::version());
  app.require_subcommand(1);
  app.fallthrough(false);
  app.formatter(std::make_shared<tessera::cli::HelpFormatter>());  // the verbs inherit it
  try {
    tessera::cli::register_verbs(app);
    tessera::cli::add_config_file(app);
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0) return fail_with(1, "standard output: cannot be written");
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const auto verbs = verbs_of(app);
    if (argc > 1 && argv[1][0] != '-' && std::find(verbs.begin(), verbs.end(), argv[1]) == verbs.end())
      return fail_with(2, fmt::format("{}: no such verb, expected one of {}{}", argv[1], fmt::join(verbs, ", "),
                                      tessera::cli::did_you_mean(argv[1], verbs)));
    return fail_with(2, error.what() + suggestion_for(app));
  } catch (const tessera::cli::ProcessesEnded& ended) {
    return ended.status;
  } catch (...) {
    const auto failure = tessera::current_failure();
    return fail_with(status_of(failure.kind), failure.text);
  }
}

/// A fault ends the program at once, with its signal. Libraries that come with LibTorch take these signals for reports
/// of their own (UCX does on Debian 13), which in a child that may make few system calls never end.
void end_by_faults() {
#ifndef __SANITIZE_ADDRESS__
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(fault, SIG_DFL);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  end_by_faults();
  if (tessera::decoding_worker(argc, argv)) return 0;
  tessera::keep_freed_memory();
  std::signal(SIGPIPE, SIG_IGN);  // who reads our output may go; what is saved is saved all the same
  tessera::MappedFile::name_files_cut_short();
  if (tessera::server::model_process(argc, argv)) leave(0);
  leave(run(argc, argv));
}
