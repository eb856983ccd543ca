/// What the service needs of its models. The pipelines implement it; tests use a fake without a network.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/captions.h"
#include "pipeline/pipeline.h"
#include "prior/sampling_suggestion.h"
#include "server/job_request.h"

namespace tessera::server {

/// One served model, known without loading it.
struct ModelInfo {
  std::string name;
  std::int64_t width = 0, height = 0;  // pixels, its own size
  std::int64_t factor = 1;             // pixels a cell, a side
  std::int64_t h = 0, w = 0;           // cells, its own grid
  std::int64_t codebook_size = 0;      // K
  bool has_prior = false;
  std::string process;                        // as Pipeline::process; empty without a prior
  std::string condition = "none";             // none, text or class
  bool has_captions = false;                  // it says what pictures show
  std::int64_t classes = 0;                   // of models with classes
  std::vector<std::string> class_names = {};  // one for each class; empty: they have none
  std::vector<std::string> loras = {};        // names of the small updates that the service has
  std::vector<std::string> samplers;          // that suit its process, the default first
  std::int64_t total_steps = 0;               // T
  bool has_mask = true;                       // of its process
  SamplingOptions suggested;                  // the defaults, where the bundle says some
  std::uint64_t bytes = 0;                    // of its weights in memory, about
  bool loaded = false;
  std::filesystem::path folder;  // of the bundle; empty: not known

  /// What fills where nobody chose.
  std::string default_sampler() const {
    return suggested.maybe<std::string>("sampler").value_or(samplers.empty() ? "" : samplers.front());
  }
  bool takes_steps() const;
};

/// The number of a class that a request names. Throws HttpError.
std::int64_t class_of(const std::string& name, const ModelInfo& model);

/// A job ready to be filled: its grids and how they are shown. Belongs to the backend that made it.
class PreparedJob {
 public:
  virtual ~PreparedJob() = default;
  /// false: what made it has ended meanwhile; the job must be prepared anew.
  virtual bool usable() const { return true; }

  std::int64_t h = 0, w = 0;                     // cells of each grid
  std::int64_t factor = 1;                       // pixels a cell, a side
  PixelBox area;                                 // the pixels of the result that the grid stands for
  int offset_x = 0, offset_y = 0;                // pixel of the decoded grid that falls on the area's first
  int width = 0, height = 0;                     // pixels of the result
  std::vector<std::string> notes;                // what was snapped, scaled or cropped
  std::string effective;                         // the options that the model decided, as JSON text
  std::vector<std::vector<std::int32_t>> start;  // count grids of h * w codes, -1 where to be filled
};

/// Images first .. first + count - 1 of a job.
struct JobPart {
  PreparedJob* job = nullptr;
  std::int64_t first = 0, count = 0;
};

/// Told how a fill goes. Images are counted over all parts, in order.
class FillWatch {
 public:
  virtual ~FillWatch() = default;
  /// In: tokens [N][h * w], -1 where still open. false stops the fill.
  virtual bool after_step(std::int64_t step, std::int64_t steps, std::int64_t evaluations,
                          std::span<const std::int32_t> tokens) = 0;
  /// true: the image is no longer wanted.
  virtual bool abandoned(std::int64_t image) = 0;
};

/// Where an earlier fill of the same parts stood.
struct FillStart {
  std::int64_t step = 0;                          // steps walked; 0: from the start
  std::vector<std::vector<std::int32_t>> tokens;  // [N][h * w], -1 where still open
};

struct FillOutcome {
  std::vector<std::vector<std::int32_t>> tokens;  // [N][h * w]
  std::int64_t evaluations = 0;                   // of the denoiser
  bool stopped = false;                           // the watch asked for it
};

/// One code that a cell could take.
struct Candidate {
  std::int32_t token = 0;
  double probability = 0;  // under the model at the temperature asked for, given the other cells
  Image thumbnail;         // the neighbourhood decoded with it
};

struct CandidateRequest {
  TokenArray tokens;
  std::int64_t y = 0, x = 0;  // the cell
  std::int64_t count = 8;
  double temperature = 1;  // above 0
  std::string prompt, negative_prompt;
  std::int64_t label = -1;
  std::optional<double> cfg_scale;  // none: by the model
};

struct ScoreRequest {
  std::vector<TokenArray> grids;  // of one size
  std::int64_t spacing = 0;       // as CellLikelihoodOptions::spacing
  PromptOptions prompt;
};

/// How likely the codes are.
struct Scores {
  std::vector<std::vector<double>> log_probabilities;  // [N][h * w], nats; 0 where MASK
  std::int64_t evaluations = 0;                        // grids that the network has seen
  bool given_before = false;                           // the cells before alone, not all others
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// The models in the order they were given; from any thread.
  virtual std::vector<ModelInfo> models() = 0;

  /// From any thread: the service stops, and what does not end its work by itself is ended.
  virtual void stop() {}

  // The rest is called from the worker's thread alone. All throw Error with one line.

  /// Whether it can be asked for anything now. Between two jobs what has ended is brought back here.
  virtual bool ready() { return true; }
  /// Encodes and plans.
  virtual std::unique_ptr<PreparedJob> prepare(const JobRequest& request) = 0;
  /// Parts of one model, equal options (JobRequest::join_key) and equal grids in one fill; each image as it would be
  /// alone, and as an unbroken fill has it where it is taken up from a step of one.
  virtual FillOutcome fill(const std::vector<JobPart>& parts, FillWatch& watch, const FillStart& from) = 0;
  /// Image `index` of a job with these tokens, which may have open cells: decoded and laid over its picture.
  virtual Image picture(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) = 0;

  /// Image `index` of the job whose fill is under way, as the model would finish it at once: each open cell has its
  /// likeliest code. None: the model has no such guess.
  virtual std::optional<Image> guess(PreparedJob& job, std::int64_t index, std::span<const std::int32_t> tokens) = 0;

  virtual TokenArray encode(const std::string& model, const Image& image) = 0;
  virtual Image decode(const std::string& model, const TokenArray& tokens) = 0;
  virtual std::vector<Candidate> candidates(const std::string& model, const CandidateRequest& request) = 0;
  virtual Scores score(const std::string& model, const ScoreRequest& request) = 0;
  /// `count` captions of the picture, scaled to the model's size.
  virtual std::vector<std::string> captions(const std::string& model, const Image& image, std::int64_t count,
                                            const CaptionChoice& choice) = 0;
};

}  // namespace tessera::server
