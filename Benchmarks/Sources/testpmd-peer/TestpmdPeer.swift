internal import Foundation

/// Makes DPDK's `dpdk-testpmd` (drivers `net_af_xdp` and `net_af_packet`) do the work that `netmap
/// bench --program` requests.
///
/// Takes the command line of `netmap bench --program`, types testpmd's commands, and reads its
/// counters. As `testpmd-peer memif`, it drives the two ends of a shared-memory interface instead;
/// see ``Memif``.
@main
struct TestpmdPeer {
  static func main() {
    do {
      if CommandLine.arguments.dropFirst().first == "memif" {
        return try Memif.serve(CommandLine.arguments.dropFirst(2))
      }
      let job = try Job(CommandLine.arguments.dropFirst())
      guard let program = Testpmd.path else {
        return print("unavailable: dpdk-testpmd is not installed; 'make setup-bench' installs it")
      }
      if let reason = job.whyNot { return print("unavailable: \(reason)") }
      let testpmd = try Testpmd(program, job.arguments)
      try testpmd.waitForPrompt()
      try testpmd.type("start")
      // testpmd executes commands in order: once it answers, it has started.
      _ = try testpmd.counters(ofPort: 0)
      answer("ready")
      while readLine() != nil {
        let counters = try testpmd.counters(ofPort: job.countedPort)
        let packets = job.direction == "rx" ? counters.received : counters.sent
        answer("\(packets) - \(job.direction == "rx" ? String(counters.missed) : "-")")
      }
      testpmd.end()
    } catch {
      FileHandle.standardError.write(Data("testpmd-peer: \(error)\n".utf8))
      exit(1)
    }
  }

  private static func answer(_ line: String) {
    print(line)
    fflush(nil)
  }
}

struct PeerError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
