/// The one list of a job request's fields: parsing, errors, the record, the command line and the OpenAPI schema follow
/// from it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>
#include <vector>

#include "server/job_request.h"

namespace tessera::server {

enum class Upload { image, mask, keep_mask, onto };

struct RequestField {
  using Whole = std::int64_t JobRequest::*;
  using Count = std::uint64_t JobRequest::*;
  using Number = double JobRequest::*;
  using MaybeNumber = std::optional<double> JobRequest::*;
  using Flag = bool JobRequest::*;
  using Text = std::string JobRequest::*;
  struct Boxes {
    bool keep;
  };
  struct Pieces {};
  struct Tokens {};
  /// JobRequest::sampling's option of the field's name.
  struct Sampling {
    OptionField option;
  };
  using Target = std::variant<Whole, Count, Number, MaybeNumber, Flag, Text, Upload, Boxes, Pieces, Tokens, Sampling>;

  std::string name;
  std::string help;   // one line: meaning, unit, off-value
  std::string verbs;  // that take it, by first letter: g i o s v r f
  std::string flag;   // of the command line; empty: it has none
  Target target;
  double least = 0, most = 0;        // of numbers; of a text the most bytes
  std::vector<std::string> choices;  // of a text; empty: any

  bool taken_by(const std::string& verb) const { return verbs.find(verb.front()) != std::string::npos; }
};

/// Those of sampling are as the registries are now.
std::vector<RequestField> request_fields();

/// One field as an OpenAPI schema.
nlohmann::json schema_of(const RequestField& field);

}  // namespace tessera::server
