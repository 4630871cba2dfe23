internal import CNetmapHalves
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import NetmapRequests

// The control calls of the C half, which makes one at a time.

/// `netmap_half.open`
let openToken: @convention(c) (CInt) -> CInt = { closesOnExec in
  negatedErrno(explaining: "cannot open /dev/netmap") { () throws(NetmapError) in
    let token = try HalfState.newToken()
    // The socket may have a higher number than descriptors that are closed by now.
    let copy = Token(owning: try token.duplicate())
    token.close()
    return try copy.duplicate(survivesExec: closesOnExec == 0)
  }
}

/// `netmap_half.recognize`
let recognizeToken: @convention(c) (CInt) -> CInt = { descriptor in
  Token.identity(of: descriptor) == nil ? 0 : 1
}

/// `netmap_half.request`
///
/// Returns what the C half has to do next (`NETMAP_REQUEST_*`).
let performRequest: @convention(c) (CInt, UInt32, UnsafeMutableRawPointer?) -> CInt = {
  descriptor, command, argument in
  HalfState.dropUnattached()
  let server = TokenServer(descriptor)
  let layer = RequestLayer(memory: ProcessMemory(), server: server)
  if let error = layer.perform(UInt(command), UInt64(UInt(bitPattern: argument))) {
    return -error.rawValue
  }
  var result = server.waitsForLoop.isSet ? NETMAP_REQUEST_STOPS : 0
  if unsafe HalfState.bound != nil { result |= NETMAP_REQUEST_BINDS }
  if unsafe HalfState.started != nil { result |= NETMAP_REQUEST_LOOPS }
  return CInt(result)
}

/// `netmap_half.attach`
let attachBinding: @convention(c) (CInt, UnsafeMutablePointer<netmap_binding>?) -> CInt = {
  descriptor, binding in
  guard let binding = unsafe binding else { return -EINVAL }
  return negatedErrno { () throws(NetmapError) in
    let port: PortInUse
    if let bound = unsafe HalfState.bound, bound.identity == Token.identity(of: descriptor) {
      port = bound.port
      unsafe HalfState.bound = nil
      HalfState.attach(port, bound.identity)
    } else {
      port = try HalfState.withToken(descriptor) { (token, connection) throws(NetmapError) in
        try PortInUse(try connection.mapPort(token, viewEnd: .withToken), connection)
      }
      if let identity = Token.identity(of: descriptor) { HalfState.attach(port, identity) }
    }
    unsafe port.describe(in: binding)
    return 0
  }
}

/// `netmap_half.release`
let releaseBinding: @convention(c) (UnsafeMutablePointer<netmap_binding>?) -> Void = { binding in
  guard let place = unsafe binding?.pointee.port else { return }
  let port = unsafe Unmanaged<PortInUse>.fromOpaque(place).takeRetainedValue()
  HalfState.forget(port)
  port.leave()
}

/// `netmap_half.forked`
let forgetEverything: @convention(c) () -> Void = { HalfState.forgetEverything() }

/// `netmap_half.begin`
let beginHalf: @convention(c) (UnsafePointer<netmap_first_half>?) -> Void = { first in
  guard let first = unsafe first?.pointee else { return }
  unsafe FirstHalf.explainer = first.explain
  unsafe FirstHalf.explainsRequests = first.explains_requests != 0
  if let check = unsafe first.is_interrupted { Interruption.use(check) }
  if let folder = unsafe first.folder {
    DaemonProgram.look(besideLibraryIn: unsafe String(cString: folder))
  }
}

/// `netmap_half.prepare`
let prepareOpens: @convention(c) () -> CInt = {
  negatedErrno(explaining: "cannot prepare to open /dev/netmap") { () throws(NetmapError) in
    try HalfState.prepare()
    return 0
  }
}

/// `netmap_half.vacate`
let vacateNumber: @convention(c) (CInt) -> Void = { HalfState.vacate($0) }

/// `netmap_half.close_kept`
let closeKept: @convention(c) (CInt) -> CInt = { PrivateDescriptors.closeInChild($0) ? 1 : 0 }

/// What the C half has told this one.
enum FirstHalf {
  nonisolated(unsafe) fileprivate static var explainer:
    (@convention(c) (UnsafePointer<CChar>?, CInt) -> Void)?
  nonisolated(unsafe) fileprivate static var explainsRequests = false

  /// Tells the user why an open has failed, if there is a place to write to.
  static func explain(_ what: String, _ error: NetmapError) {
    explain("\(what): \(error)", isOpen: true)
  }

  /// Tells the user why a request has been refused, if the user wants to know.
  static func explain(_ error: NetmapError) {
    guard unsafe explainsRequests else { return }
    explain("\(error)", isOpen: false)
  }

  private static func explain(_ text: String, isOpen: Bool) {
    unsafe text.replacing("\n", with: " ").withCString { unsafe explainer?($0, isOpen ? 1 : 0) }
  }
}

/// Runs the body of a control call.
///
/// - Parameters:
///   - what: What failed, for the user; nil to say nothing.
///   - body: Makes the call.
/// - Returns: What the body returns, or the negated `errno` of its error.
func negatedErrno(
  explaining what: String? = nil, _ body: () throws(NetmapError) -> CInt
) -> CInt {
  do throws(NetmapError) {
    return try body()
  } catch {
    guard let what else { return -RequestErrno(error).rawValue }
    FirstHalf.explain(what, error)
    return -error.code.rawValue
  }
}

extension RequestErrno {
  /// The errno of an error, which is all that the program gets of it unless it wants explanations.
  init(_ error: NetmapError) {
    FirstHalf.explain(error)
    self.init(rawValue: error.code.rawValue)
  }
}
