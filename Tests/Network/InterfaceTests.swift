import Netmap
import NetmapTestSupport
import Testing

/// What is said about interfaces that cannot be opened.
@Suite struct InterfaceTests {
  @Test("a name that no interface has is ENXIO, and the message says where to look")
  func unknownInterface() throws {
    try NetworkNamespace.run {
      let engine = try EmbeddedEngine()
      let error = #expect(throws: NetmapError.self) { try Port("netmap:nowhere", engine: engine) }
      #expect(error?.code == .noSuchDevice)
      #expect(error?.description.contains("ip link") == true)
    }
  }
}
