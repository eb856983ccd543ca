// The built service among people who mean it ill.
#include <chrono>
#include <fstream>
#include <sstream>

#include "cli/program.h"

namespace tessera {
namespace hostile_service_test {

using testing::quoted;

class HostileService : public testing::ProgramTest {
 protected:
  /// Starts `serve` with these flags, sends a body to a path, waits, then runs a shell line that knows $server and
  /// $port. Out: what it printed.
  std::string with_server(const std::string& flags, const std::string& line) const {
    const auto script = fmt::format(
        "'{}' serve -m {} --port 0 -t 1 {} >'{}/url' 2>'{}/log' & server=$!; "
        "for i in $(seq 300); do [ -s '{}/url' ] && break; sleep 0.1; done; "
        "port=$(sed 's|.*:\\([0-9]*\\)/|\\1|' '{}/url'); "
        "ask() {{ exec 3<>/dev/tcp/127.0.0.1/$port; printf 'POST %s HTTP/1.1\\r\\nHost: localhost\\r\\n"
        "Authorization: Bearer %s\\r\\nContent-Type: application/json\\r\\nContent-Length: %s\\r\\nConnection: "
        "close\\r\\n\\r\\n%s' \"$1\" \"$2\" \"${{#3}}\" \"$3\" >&3; head -1 <&3; exec 3>&-; }}; {}; "
        "kill -9 $server 2>/dev/null",
        TESSERA_PROGRAM, quoted(std::filesystem::path(TESSERA_SOURCE_DIR) / "models/emoji64"), flags, folder_.string(),
        folder_.string(), folder_.string(), folder_.string(), line);
    std::ofstream(folder_ / "script") << script;
    return testing::run_command("bash " + at("script")).output;
  }
};

TEST_F(HostileService, AStopEndsWithinItsGraceWhateverRuns) {
  const auto output =
      with_server("--grace-seconds 1",
                  "ask /api/v1/jobs none '{\"verb\":\"generate\",\"width\":1024,\"height\":1024,\"steps\":4096}'; "
                  "sleep 1; begin=$(date +%s%N); kill -TERM $server; wait $server; echo status $? after $(( ($(date "
                  "+%s%N) - begin) / 1000000 )) ms");
  EXPECT_NE(output.find("202"), std::string::npos) << output;
  const auto at_status = output.find("status ");
  ASSERT_NE(at_status, std::string::npos) << output;
  int status = -1, milliseconds = 0;
  ASSERT_EQ(std::sscanf(output.c_str() + at_status, "status %d after %d ms", &status, &milliseconds), 2) << output;
  EXPECT_TRUE(status == 0 || status == 1) << output;
  EXPECT_LT(milliseconds, 10'000);  // a second of grace, three to tell clients, and a busy machine
}

TEST_F(HostileService, KeysAreReadAgainAtSighup) {
  const auto keys = folder_ / "keys";
  std::ofstream(keys) << "a-first-key-of-some-length\n";
  const auto output = with_server(
      fmt::format("--api-key-file '{}' --audit-log '{}/audit'", keys.string(), folder_.string()),
      fmt::format("job='{{\"verb\":\"generate\",\"steps\":1}}'; ask /api/v1/jobs a-first-key-of-some-length \"$job\"; "
                  "echo 'a-second-key-of-some-length name=bob' >'{0}'; kill -HUP $server; sleep 1; "
                  "ask /api/v1/jobs a-first-key-of-some-length \"$job\"; "
                  "ask /api/v1/jobs a-second-key-of-some-length \"$job\"; "
                  "echo short >'{0}'; kill -HUP $server; sleep 1; "
                  "ask /api/v1/jobs a-second-key-of-some-length \"$job\"; kill -TERM $server; wait $server; "
                  "grep -c '\"client\":\"bob\"' '{1}/audit'",
                  keys.string(), folder_.string()));
  EXPECT_EQ(output.find("HTTP/1.1 202"), 0U) << output;
  EXPECT_NE(output.find("HTTP/1.1 202 Accepted\r\nHTTP/1.1 401"), std::string::npos) << output;
  EXPECT_NE(output.find("401 Unauthorized\r\nHTTP/1.1 202 Accepted\r\nHTTP/1.1 202"), std::string::npos) << output;
  EXPECT_TRUE(output.ends_with("\n2\n")) << output;
}

TEST_F(HostileService, LargeBodiesTakeTheirMemoryForAMomentAlone) {
  const auto place = folder_.string();
  const auto line = fmt::format(
      R"sh(cd '{}'
        {{ printf '['; yes '[],' | tr -d '\n' | head -c 32505849; printf '[]]'; }} >lists
        {{ printf '{{"verb":"generate","prompt":"'; head -c 32000000 /dev/zero | tr '\0' x; printf '"}}'; }} >text
        {{ printf '{{"image":"'; head -c 32000000 /dev/zero | tr '\0' A; printf '"}}'; }} >picture
        {{ printf '{{"tokens":[[0'; yes ',0' | tr -d '\n' | head -c 32000000; printf ']]}}'; }} >codes
        send() {{ exec 3<>/dev/tcp/127.0.0.1/$port
          printf 'POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' "$1" >&3
          printf 'Content-Length: %s\r\nConnection: close\r\n\r\n' "$(stat -c %s $2)" >&3
          cat $2 >&3; head -1 <&3 | cut -c 10-12; exec 3>&-; }}
        now() {{ awk "/$1/ {{print \$2}}" /proc/$server/status; }}
        send /api/v1/jobs lists; send /api/v1/jobs text; send /api/v1/encode picture; send /api/v1/decode codes
        before=$(now VmRSS)
        for i in 1 2 3; do
          send /api/v1/jobs lists & a=$!; send /api/v1/jobs text & b=$!; send /api/v1/encode picture & c=$!
          send /api/v1/decode codes & d=$!; wait $a $b $c $d
        done
        for i in $(seq 100); do [ $(now VmRSS) -lt $((before + 65536)) ] && break; sleep 0.3; done
        echo before $before most $(now VmHWM) after $(now VmRSS))sh",
      place);
  const auto output = with_server("", line);
  std::istringstream lines(output);
  std::string text;
  int answers = 0;
  for (; std::getline(lines, text) && !text.starts_with("before"); ++answers)
    EXPECT_TRUE(text == "400" || text == "503") << output;
  EXPECT_EQ(answers, 16) << output;
  long long before = 0, most = 0, after = 0;
  ASSERT_EQ(std::sscanf(text.c_str(), "before %lld most %lld after %lld", &before, &most, &after), 3) << output;
  EXPECT_LT(most, 1 << 20) << "KiB: at most 1 GiB";
  EXPECT_LT(after, before + (64 << 10)) << "KiB: back at its level";
}

}  // namespace hostile_service_test
}  // namespace tessera
