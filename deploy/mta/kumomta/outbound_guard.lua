-- KumoMTA: all mail goes to Outbound Guard. In the policy (init.lua): require 'outbound_guard', before other handlers of
-- these events; a handler of your own for the same event calls the function here instead. Not tried with a running KumoMTA.
local kumo = require 'kumo'
local guard = { host = 'guard.example.net', port = 2587, login = 'relay-web4', password = '/opt/kumomta/etc/outbound_guard' }

local NAMES = {
  'X-AuthUser', 'X-Authenticated-Sender', 'X-Get-Message-Sender-Via', 'X-SmarterMail-Authenticated-As', 'X-PPP-Vhost',
  'X-PHP-Originating-Script', 'X-PHP-Script', 'X-Source-Args',
}

-- Says in a header who logged in, takes away what clients wrote under such names, and sets the way.
function guard.mark(msg)
  for _, name in ipairs(NAMES) do
    msg:remove_all_named_headers(name)
  end
  -- Who logged in, as smtp_server_auth_plain has it; injection by HTTP has it likewise.
  local login = msg:get_meta 'authn_id'
  if login then
    msg:append_header('X-AuthUser', login)
  end
  msg:set_meta('routing_domain', guard.host)
end

kumo.on('smtp_server_message_received', guard.mark)
kumo.on('http_message_generated', guard.mark)

kumo.on('get_queue_config', function(domain, tenant, campaign, routing_domain)
  if routing_domain == guard.host then
    return kumo.make_queue_config {
      protocol = { smtp = { mx_list = { guard.host } } },
    }
  end
end)

kumo.on('get_egress_path_config', function(routing_domain, egress_source, site_name)
  if routing_domain == guard.host then
    return kumo.make_egress_path {
      smtp_port = guard.port,
      enable_tls = 'Required',
      smtp_auth_plain_username = guard.login,
      -- A file whose content is the password.
      smtp_auth_plain_password = guard.password,
    }
  end
end)

return guard
