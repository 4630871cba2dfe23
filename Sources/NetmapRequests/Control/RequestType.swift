/// The type of a control request: `nr_reqtype`, `NETMAP_REQ_*` in netmap(4).
package enum RequestType: UInt16, Hashable, Sendable, CaseIterable {
  /// `REGISTER`
  case register = 1
  /// `PORT_INFO_GET`
  case portInfo = 2
  /// `VALE_ATTACH`
  case attach = 3
  /// `VALE_DETACH`
  case detach = 4
  /// `VALE_LIST`
  case list = 5
  /// `PORT_HDR_SET`
  case setHeaderLength = 6
  /// `PORT_HDR_GET`
  case headerLength = 7
  /// `VALE_NEWIF`
  case createInterface = 8
  /// `VALE_DELIF`
  case removeInterface = 9
  /// `VALE_POLLING_ENABLE`
  case startPolling = 10
  /// `VALE_POLLING_DISABLE`
  case stopPolling = 11
  /// `POOLS_INFO_GET`
  case poolsInfo = 12
  /// `SYNC_KLOOP_START`
  case startLoop = 13
  /// `SYNC_KLOOP_STOP`
  case stopLoop = 14
  /// `CSB_ENABLE`
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
