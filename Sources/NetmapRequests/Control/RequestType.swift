/// The type of a control request: `nr_reqtype`, `NETMAP_REQ_*` in netmap(4).
package enum RequestType: UInt16, Hashable, Sendable, CaseIterable {
  case register = 1
  case portInfo = 2
  case attach = 3
  case detach = 4
  case list = 5
  case setHeaderLength = 6
  case headerLength = 7
  case createInterface = 8
  case removeInterface = 9
  case startPolling = 10
  case stopPolling = 11
  case poolsInfo = 12
  case startLoop = 13
  case stopLoop = 14
  case enableControlBlocks = 15

  /// The size of the request's body in bytes; 0 if the request has none.
  package var bodyByteCount: Int {
    switch self {
    case .register: RequestLayout.Register.byteCount
    case .portInfo: RequestLayout.PortInfo.byteCount
    case .attach: RequestLayout.Attach.byteCount
    case .detach: RequestLayout.Detach.byteCount
    case .list: RequestLayout.List.byteCount
    case .setHeaderLength, .headerLength: RequestLayout.PortHeader.byteCount
    case .createInterface: RequestLayout.NewInterface.byteCount
    case .startPolling, .stopPolling: RequestLayout.Polling.byteCount
    case .poolsInfo: RequestLayout.Pools.byteCount
    case .startLoop: RequestLayout.LoopStart.byteCount
    case .removeInterface, .stopLoop, .enableControlBlocks: 0
    }
  }
}

/// The body of a request. The longest has 64 bytes.
typealias RequestBody = ByteBlock<64>
