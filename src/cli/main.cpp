/// The `tessera` program: one verb a file, each registered in verbs.h.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "cli/verbs.h"
#include "runtime/error.h"
#include "runtime/log.h"

int main(int argc, char** argv) {
  CLI::App app{"tessera: train, sample, edit and measure discrete diffusion image models", "tessera"};
  app.set_version_flag("--version", TESSERA_VERSION);
  app.require_subcommand(1);
  app.fallthrough(false);
  try {
    tessera::cli::register_verbs(app);
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "tessera: %s\n", error.what());
    return 2;
  } catch (const tessera::UsageError& error) {
    std::fprintf(stderr, "tessera: %s\n", error.what());
    return 2;
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "tessera: %s\n", error.what());
    return 1;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "tessera: out of memory\n");
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tessera: internal error: %s\n", error.what());
    return 1;
  }
}
