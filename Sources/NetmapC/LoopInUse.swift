internal import CNetmapHalves
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import NetmapRequests

/// A sync loop of a C program, with everything that must outlive its use.
@safe
final class LoopInUse {
  /// The longest pause between turns, microseconds.
  static let longestPause: UInt32 = 1_000_000

  private let port: PortInUse
  private let loop: SyncLoop
  private let kicks: LoopKicks?
  private let pause: UInt32

  /// Begins a loop, and sets the statuses of the options (`netmap_sync_kloop`).
  ///
  /// - Parameters:
  ///   - port: The port.
  ///   - identity: Its token.
  ///   - call: The request.
  /// - Throws: ``RequestErrno``: `EINVAL` if the binding is not in CSB mode, or for options that do not suit; `EFAULT` if
  ///   the memory of the control blocks has gone; `EBUSY` while a loop runs; `EBADF` or `EINVAL` for descriptors that are
  ///   no eventfds.
  init(_ port: PortInUse, _ identity: TokenIdentity, _ call: inout StartLoopCall)
    throws(RequestErrno)
  {
    let count = port.port.transmitCount + port.port.receiveCount
    guard let blocks = unsafe HalfState.controlBlocks[identity], let view = unsafe blocks.view
    else {
      throw .invalidArgument
    }
    guard !port.port.hasLoop else { throw .busy }
    do throws(RequestErrno) {
      guard blocks.isThere(count) else { throw .badAddress }
      var settings = SyncLoop.Settings()
      settings.direct = try Self.directions(&call)
      kicks = try Self.notifications(&call, count, &settings)
      do throws(NetmapError) {
        loop = unsafe try SyncLoop(port.port, port.tag, view, settings)
      } catch {
        throw RequestErrno(error)
      }
    } catch {
      // netmap forgets a request to stop with a loop that does not begin.
      if error != .busy { _ = unsafe port.port.control?.takeStop() }
      throw error
    }
    self.port = port
    pause = call.sleepMicroseconds
  }

  /// The directions that the program drives itself.
  private static func directions(_ call: inout StartLoopCall) throws(RequestErrno) -> Set<Direction>
  {
    guard let mode = call.mode?.rawValue else { return [] }
    // NM_OPT_SYNC_KLOOP_DIRECT_TX and NM_OPT_SYNC_KLOOP_DIRECT_RX
    guard mode & ~3 == 0 else {
      call.mode?.status = .refused(.invalidArgument)
      throw .invalidArgument
    }
    call.mode?.status = .accepted
    var result: Set<Direction> = []
    if mode & 1 != 0 { result.insert(.transmit) }
    if mode & 2 != 0 { result.insert(.receive) }
    return result
  }

  /// The eventfds by which the program wakes the loop; nil if the loop looks again and again.
  private static func notifications(
    _ call: inout StartLoopCall, _ count: Int, _ settings: inout SyncLoop.Settings
  ) throws(RequestErrno) -> LoopKicks? {
    guard let given = call.eventDescriptors else { return nil }
    guard given.size == UInt64(24 + 8 * count), given.rings.count == count else {
      call.eventDescriptors?.status = .refused(.invalidArgument)
      throw .invalidArgument
    }
    settings.signals = given.rings.map(\.toApplication)
    settings.isNotified = given.rings.allSatisfy { $0.toEngine >= 0 }
    guard settings.isNotified || settings.direct.isEmpty else {
      call.eventDescriptors?.status = .refused(.invalidArgument)
      throw .invalidArgument
    }
    call.eventDescriptors?.status = .accepted
    guard settings.isNotified else { return nil }
    do throws(NetmapError) {
      return try LoopKicks(given.rings.map(\.toEngine))
    } catch {
      throw RequestErrno(error)
    }
  }

  /// Hands the loop to the C half, which owns a reference until it ends the loop.
  func describe(in loop: UnsafeMutablePointer<netmap_loop>) {
    unsafe loop.pointee = netmap_loop(
      loop: Unmanaged.passRetained(self).toOpaque(), kicks: kicks?.descriptor ?? -1, pause: pause)
  }

  func turn(wasKicked: Bool) -> SyncLoop.Turn {
    if wasKicked { kicks?.consume() }
    return loop.turn(port.announcement)
  }

  /// Whether other processes are certain to wake this one.
  var isReliable: Bool { port.doorbells.isReliable }

  func end() { loop.end() }
}

/// `netmap_half.take_loop`
let takeLoop: @convention(c) (UnsafeMutablePointer<netmap_loop>?) -> CInt = { loop in
  guard let loop = unsafe loop, let started = unsafe HalfState.started else { return 0 }
  unsafe HalfState.started = nil
  unsafe started.describe(in: loop)
  return 1
}

/// `netmap_half.turn_loop`
let turnLoop: @convention(c) (UnsafePointer<netmap_loop>?, CInt) -> UInt32 = { loop, wasKicked in
  guard let place = unsafe loop?.pointee.loop else { return UInt32(NETMAP_TURN_LAST) }
  return unsafe Unmanaged<LoopInUse>.fromOpaque(place)._withUnsafeGuaranteedRef { loop in
    let turn = loop.turn(wasKicked: wasKicked != 0)
    var result = 0
    if turn.isLast { result |= NETMAP_TURN_LAST }
    if turn.hasMore { result |= NETMAP_TURN_MORE }
    if turn.isUnsure || !loop.isReliable { result |= NETMAP_TURN_UNSURE }
    if turn.wanted.contains(.receive) { result |= NETMAP_TURN_RECEIVE }
    if turn.wanted.contains(.transmit) { result |= NETMAP_TURN_TRANSMIT }
    return UInt32(result)
  }
}

/// `netmap_half.end_loop`
let endLoop: @convention(c) (UnsafeMutablePointer<netmap_loop>?) -> Void = { loop in
  guard let place = unsafe loop?.pointee.loop else { return }
  unsafe Unmanaged<LoopInUse>.fromOpaque(place).takeRetainedValue().end()
  unsafe loop?.pointee.loop = nil
}

/// `netmap_half.has_loop`
let hasLoop: @convention(c) (UnsafePointer<netmap_binding>?) -> CInt = { binding in
  unsafe withPort(binding) { $0.hasLivingLoop } ? 1 : 0
}
