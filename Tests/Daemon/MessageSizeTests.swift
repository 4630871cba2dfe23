import NetmapClient
import NetmapCore
import Testing

@Suite("Messages: sizes")
struct MessageSizeTests {
  private static let sizes: [UInt64] = [1 << 63, .max, 1 << 63 | 4096]

  /// The bytes of an answer to a register request.
  private func registration(interfaceOffset: UInt64, memorySize: UInt64) -> MessageReader {
    var writer = MessageWriter()
    writer.put(UInt64(1))
    writer.put("a{1")
    writer.put(UInt32(0))
    writer.put(interfaceOffset)
    writer.put(memorySize)
    writer.put(UInt16(2))
    writer.put(PortGeometry())
    writer.put(UInt32(0))
    writer.put(optional: UInt64?.none)
    writer.put(UInt8(0))
    for _ in 0..<2 { writer.put("") }
    for _ in 0..<2 { writer.put([String]()) }
    writer.put(UInt64(1) << 63)
    writer.put(optional: UInt64?.none)
    writer.put(SyncDefaults.stampsOnRequest.rawValue)
    return MessageReader(writer.bytes)
  }

  @Test("an answer that names more memory than a number can count is refused", arguments: sizes)
  func registrations(size: UInt64) throws {
    let engine = try Engine()
    let port = try engine.register(RegisterRequest(name: try PortName("a{1")))
    func code(_ offset: UInt64, _ size: UInt64) -> NetmapError.Code? {
      var reader = registration(interfaceOffset: offset, memorySize: size)
      do throws(NetmapError) {
        _ = try reader.takeRegistration(region: port.region, segment: port.segment)
        return nil
      } catch {
        return error.code
      }
    }
    #expect(code(0, UInt64(port.region.byteCount)) == nil)
    #expect(code(0, size) == .invalidArgument)
    #expect(code(size, UInt64(port.region.byteCount)) == .invalidArgument)
  }

  @Test("so are answers about a port, its pools and a switch", arguments: sizes)
  func answers(size: UInt64) {
    var writer = MessageWriter()
    writer.put(size)
    for _ in 0..<20 { writer.put(UInt64(0)) }
    let reader = MessageReader(writer.bytes)
    #expect(throws: NetmapError.self) {
      var reader = reader
      _ = try reader.takePortInfo()
    }
    #expect(throws: NetmapError.self) {
      var reader = reader
      _ = try reader.takePoolsInfo()
    }
    #expect(throws: NetmapError.self) {
      var writer = MessageWriter()
      writer.put("vale0:a")
      writer.put(UInt32(0))
      writer.put(UInt32(0))
      writer.put(UInt16(1))
      writer.put(size)
      for _ in 0..<20 { writer.put(UInt64(0)) }
      var reader = MessageReader(writer.bytes)
      _ = try reader.takeSwitchAnswer()
    }
  }
}
