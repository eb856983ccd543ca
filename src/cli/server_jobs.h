/// Jobs as the HTTP service takes them: what a verb's flags ask for as such a job, and its results as files.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/picture_files.h"

namespace tessera::server {
class ServiceClient;
}

namespace tessera::cli {

struct ServerFlags {
  std::string url;  // of a service that does the work; empty: this process does it
};
/// --server; with it -m is a model that the service has, and not required. After add_model_flags.
void add_server_flag(CLI::App& verb, ServerFlags& flags);

struct JobOutput {
  std::string output;  // a folder, or one picture (picture_format)
  EarlierResults earlier;
  bool json = false;
};

/// The job that does what was typed: every flag under its name in the service, files as their bytes. Throws UsageError
/// naming a flag that the service has nothing for, and where several pictures are given.
nlohmann::json job_of(const CLI::App& verb);

/// Asks for the job, shows how it goes, and writes what was made as the verbs do. Ctrl-C cancels it. Throws Error with
/// the service's words.
void run_job(server::ServiceClient& service, nlohmann::json job, const JobOutput& output);

/// What a verb's callback does where --server is given. The key is that of TESSERA_API_KEY, where it is set.
void run_on_server(const CLI::App& verb, const ServerFlags& flags, const JobOutput& output);
/// TESSERA_API_KEY; empty where it is not set.
std::string api_key();

}  // namespace tessera::cli
