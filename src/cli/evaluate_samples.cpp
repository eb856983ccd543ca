/// Samples for an evaluation, drawn by several processes of this program at a time.
#include <spawn.h>
#include <sys/wait.h>

#include <cstring>

#include "cli/evaluation_flags.h"
#include "runtime/error.h"

extern char** environ;

namespace tessera::cli {
namespace {

/// `tessera evaluate --draw-only` with everything that decides what is drawn.
std::vector<std::string> worker_arguments(const EvaluationFlags& flags, const NamedModel& model,
                                          const FillOptions& fill, const std::filesystem::path& folder, int shard) {
  std::vector<std::string> arguments = {"tessera",     "evaluate",
                                        "-m",          model.path,
                                        "--dtype",     flags.model.options.dtype,
                                        "--device",    flags.model.options.device,
                                        "-t",          std::to_string(flags.model.threads),
                                        "--draw-only", folder.string(),
                                        "--shard",     fmt::format("{}/{}", shard, flags.processes),
                                        "-n",          std::to_string(flags.count),
                                        "--part-size", std::to_string(flags.part_size)};
  const auto sampling = sampling_arguments(fill, flags.sampling.options);
  arguments.insert(arguments.end(), sampling.begin(), sampling.end());
  return arguments;
}

pid_t start(const std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  for (const auto& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  pid_t process = 0;
  const int error = ::posix_spawn(&process, "/proc/self/exe", nullptr, nullptr, pointers.data(), environ);
  require(error == 0, "evaluate: cannot start a process that draws samples: {}", std::strerror(error));
  return process;
}

}  // namespace

SampleSet sampled(const EvaluationFlags& flags, NamedModel& model, const FillOptions& fill,
                  const std::filesystem::path& folder) {
  SampleOptions options;
  options.fill = fill;
  options.count = flags.count;
  options.part_size = flags.part_size;
  options.folder = folder;
  options.prior_hash = model.prior_key();
  if (flags.processes == 1) {
    draw_samples(model.pipeline, options);
  } else {
    std::vector<pid_t> processes;
    for (int shard = 0; shard < flags.processes; ++shard)
      processes.push_back(start(worker_arguments(flags, model, fill, folder, shard)));
    int failed = 0;
    for (const auto process : processes) {
      int status = 0;
      if (::waitpid(process, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) ++failed;
    }
    require(failed == 0, "evaluate: {} of {} processes that draw samples failed; what they drew is kept in {}", failed,
            flags.processes, folder.string());
  }
  return read_samples(options, model.pipeline.prior().codebook_size());
}

}  // namespace tessera::cli
