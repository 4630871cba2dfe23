@testable import NetmapCore

extension FuzzTarget {
  /// A dump of the memory that ports share.
  static let dump = FuzzTarget(
    name: "dump", subject: "dumps of the memory that ports share (netmap ports --dump)"
  ) { bytes in
    read(bytes)
    // A dump of real ports, with some bytes of the input in it: an input alone is rarely long enough for a region.
    guard bytes.count >= 4 else { return }
    var sample = sampleDump
    for place in stride(from: 0, to: bytes.count - 4, by: 4) {
      let offset =
        Int(bytes[place]) | Int(bytes[place + 1]) << 8 | Int(bytes[place + 2] & 0x3f) << 16
      if bytes[place + 2] & 0x80 == 0 {
        sample[offset % sample.count] = bytes[place + 3]
      } else {
        // The words of the format lie at the beginning.
        sample[offset % min(sample.count, 1024)] = bytes[place + 3]
      }
    }
    read(sample)
  }

  /// A dump of a pipe and a switch with packets under way.
  private static let sampleDump: [UInt8] = {
    do throws(NetmapError) {
      let engine = try Engine()
      for name in ["a{1", "a}1", "vale0:a", "vale0:b"] {
        let hints = RingGeometryHints(transmitSlots: 8, receiveSlots: 8)
        _ = try engine.register(
          RegisterRequest(name: try PortName(name), hints: hints, extraBuffers: 2))
      }
      return try engine.dump().bytes
    } catch {
      require(false, "an engine of its own can be dumped: \(error)")
      return [0]
    }
  }()

  private static func read(_ bytes: [UInt8]) {
    let dump: EngineDump
    do throws(NetmapError) {
      dump = try EngineDump(bytes)
    } catch {
      return require(error.subject == "dump", "a refusal names the dump: \(error)")
    }
    // Flags may be any number but 0 in the file.
    require(
      dump.bytes.count == bytes.count, "a dump that was read is written with the same length")
    guard let engine = try? DumpedEngine(dump) else { return }
    _ = engine.check()
    for port in engine.dumpedPorts {
      require(port.rings.allSatisfy { $0.leases.count <= 64 }, "a ring lists a few leases")
    }
    _ = engine.dumpedSwitches
  }
}
