/// What a Backend takes and gives (server/backend.h) as messages between processes and back. What does not have the
/// expected form throws Malformed.
#pragma once

#include <exception>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "server/backend.h"
#include "server/message.h"

namespace tessera::server {

/// The other side said something that this one does not understand.
class Malformed : public Error {
 public:
  using Error::Error;
};

using Codes = std::vector<std::int32_t>;

std::string bytes_of(std::span<const std::int32_t> codes);
std::string bytes_of(const std::vector<double>& numbers);
/// Part number k of a message.
const std::string& part(const Message& message, std::size_t k);
/// Part number k as codes, or as numbers.
Codes codes_in(const Message& message, std::size_t k);
std::vector<double> numbers_in(const Message& message, std::size_t k);

/// Adds a picture's bytes to the message. Out: what finds them there.
nlohmann::json put(Message& message, const Image& image);
Image image_in(const Message& message, const nlohmann::json& place);
/// The same of a grid.
nlohmann::json put(Message& message, const TokenArray& tokens);
TokenArray tokens_in(const Message& message, const nlohmann::json& place);

// Each adds to a message, or reads what was added. A message holds one of these.
void put_request(Message& message, const JobRequest& request);
JobRequest request_in(const Message& message, const ServiceLimits& limits);
void put_prepared(Message& message, const PreparedJob& job);
void read_prepared(const Message& message, PreparedJob& job);
void put_start(Message& message, const FillStart& start);
FillStart start_in(const Message& message);
void put_outcome(Message& message, const FillOutcome& outcome);
FillOutcome outcome_in(const Message& message);
void put_caption_choice(Message& message, const CaptionChoice& choice);
CaptionChoice caption_choice_in(const Message& message);
void put_candidate_request(Message& message, const CandidateRequest& request);
CandidateRequest candidate_request_in(const Message& message);
void put_candidates(Message& message, const std::vector<Candidate>& candidates);
std::vector<Candidate> candidates_in(const Message& message);
void put_score_request(Message& message, const ScoreRequest& request);
ScoreRequest score_request_in(const Message& message);
void put_scores(Message& message, const Scores& scores);
Scores scores_in(const Message& message);

/// What was thrown, for the other side to throw it in turn.
Message thrown_message(const std::exception_ptr& thrown);
/// Throws what the message says was thrown.
[[noreturn]] void throw_again(const Message& message);

}  // namespace tessera::server
