internal import Foundation

/// Has DPDK's `dpdk-testpmd` (drivers `net_af_xdp` and `net_af_packet`) do what `netmap bench
/// --program` asks for: it takes that command line, types testpmd's commands, and reads its counters.
/// Or, as `testpmd-peer memif`, drives two ends of a shared-memory interface: see ``Memif``.
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
      // It answers in turn: what was typed before has been done then.
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
