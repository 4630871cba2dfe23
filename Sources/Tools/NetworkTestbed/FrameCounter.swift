internal import CBPF
internal import Glibc
internal import NetmapCore
internal import NetmapLinuxSetup

/// A loaded copy of the programs of `bpf/bench_traffic.c`, with its own frame counter.
///
/// The counter has one word per CPU, so that counting costs next to nothing.
final class FrameCounter: Sendable {
  private let object: BPFObject
  private let map: CInt
  private let cpuCount: Int

  /// - Parameter subject: The interface, for error messages.
  /// - Throws: ``NetmapError`` `EPERM` without the right to load programs.
  init(for subject: String) throws(NetmapError) {
    object = try BPFObject(BPFObjectCode.benchTraffic, for: subject)
    map = try object.map("bench_frames")
    cpuCount = Int(libbpf_num_possible_cpus())
    guard cpuCount > 0 else {
      throw BPFObject.refusal(Int32(-cpuCount), "count the CPUs", subject)
    }
  }

  func program(_ name: String) throws(NetmapError) -> CInt { try object.program(name) }

  /// Frames counted so far on all CPUs, read with one system call.
  var count: UInt64 {
    var key: UInt32 = 0
    var words = [UInt64](repeating: 0, count: cpuCount)
    _ = unsafe bpf_map_lookup_elem(map, &key, &words)
    return words.reduce(0, &+)
  }
}
