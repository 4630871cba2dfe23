@testable import NetmapClient
@testable import NetmapCore
@testable import NetmapDaemon

extension FuzzTarget {
  /// A request of the broker, and the same bytes as an answer of the opener.
  static let openerRequests = FuzzTarget(
    name: "opener-requests", subject: "requests of the broker to the opener, and its answers"
  ) { bytes in
    if let request = OpenerRequest(bytes) {
      require(bytes.count <= OpenerRequest.byteCountMax, "a long request is refused")
      require(OpenerRequest(request.bytes) == request, "\(request) arrives as it was sent")
      check(request)
    }
    do throws(NetmapError) {
      var fields = try OpenerAnswer.fields(of: bytes)
      while !fields.isAtEnd { _ = try fields.take(UInt8.self) }
    } catch {
      guard error.operation != "read" else { return }
      do throws(NetmapError) {
        _ = try OpenerAnswer.fields(of: OpenerAnswer.refused(error))
        fatalError("a refusal is no answer")
      } catch let again {
        require(again.code == error.code && again.patience == error.patience, "the code arrives")
      }
      require(
        OpenerAnswer.refused(error).count <= OpenerAnswer.byteCountMax, "a refusal fits its buffer")
    }
  }

  /// What the opener relies on.
  private static func check(_ request: OpenerRequest) {
    switch request {
    case .identity(let name, _), .interface(let name, _):
      require(
        (1...15).contains(name.utf8.count) && !name.utf8.contains { $0 <= 32 || $0 == 0x2f },
        "an interface can have this name")
    case .xdpSocket(_, let memory?):
      let (end, isTooLarge) = memory.offset.addingReportingOverflow(memory.byteCount)
      require(!isTooLarge && end <= 1 << 34, "the buffers end below 16 GiB")
      require(memory.byteCount % UInt64(memory.chunkSize) == 0, "whole chunks")
      require(memory.headroom < memory.chunkSize, "the headroom leaves room")
    case .hostLeg(_, let pairs):
      require((1...64).contains(pairs), "a leg has a bounded number of queues")
    default: break
    }
  }
}
