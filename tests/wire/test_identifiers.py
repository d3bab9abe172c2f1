"""Templates of paths as public routers, APIs' pages and access logs have them.

Names that are plain words (``octocat``, ``kube-system``) are left to the user's patterns: nothing
in them tells that they are one of many. Wrong verdicts are counted, either way; the few that there
are stand here with the template that would be right.
"""

from aegisd.wire.naming.endpoints import EndpointNamer
from aegisd.wire.naming.identifiers import PLACEHOLDER

NAMER = EndpointNamer(templates=True)

UUID = "c56a4180-65aa-42ec-a945-5fd21dec0538"
SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

SAME = ""
"""Stands for the path itself, as the template of a path that has no identifier."""

PATHS: dict[str, list[tuple[str, str]]] = {
    "GitHub": [
        ("/repos/octocat/Hello-World/issues/1347", "/repos/octocat/Hello-World/issues/{id}"),
        (
            "/repos/octocat/Hello-World/pulls/1347/merge",
            "/repos/octocat/Hello-World/pulls/{id}/merge",
        ),
        (f"/repos/octocat/Hello-World/commits/{SHA1}", "/repos/octocat/Hello-World/commits/{id}"),
        ("/octocat/Hello-World/commit/6dcb09b", "/octocat/Hello-World/commit/{id}"),
        (
            "/octocat/Hello-World/compare/6dcb09b...7fd1a60",
            "/octocat/Hello-World/compare/{id}",
        ),
        (
            "/octocat/Hello-World/releases/download/v1.0.0/example-1.0.0.zip",
            "/octocat/Hello-World/releases/download/{id}/example-1.0.0.zip",
        ),
        ("/api/v3/users/octocat/repos", SAME),
        ("/gists/aa5a315d61ae9438b18d", "/gists/{id}"),
        ("/app-manifests/b2b1f2d9c8e7a6f5b4d3/conversions", "/app-manifests/{id}/conversions"),
        ("/user/codespaces/monalisa-octocat-hello-world-g4wpq6h95q", "/user/codespaces/{id}"),
        ("/enterprises/octo/secret-scanning/alerts", SAME),
    ],
    "GitLab": [
        (
            "/api/v4/projects/5/merge_requests/33/notes",
            "/api/v4/projects/{id}/merge_requests/{id}/notes",
        ),
        ("/api/v4/projects/diaspora%2Fdiaspora/issues", "/api/v4/projects/{id}/issues"),
        (
            "/api/v4/projects/13083/repository/files/app%2Fmodels%2Fkey%2Erb/raw",
            "/api/v4/projects/{id}/repository/files/{id}/raw",
        ),
        (
            "/api/v4/projects/1/repository/branches/main",
            "/api/v4/projects/{id}/repository/branches/main",
        ),
        (
            "/diaspora/diaspora/-/merge_requests/33.diff",
            "/diaspora/diaspora/-/merge_requests/{id}.diff",
        ),
        ("/diaspora/diaspora/-/jobs/7/trace.json", "/diaspora/diaspora/-/jobs/{id}/trace.json"),
        ("/api/v4/users?search=a@example.com", "/api/v4/users"),
    ],
    "Kubernetes": [
        ("/api/v1/namespaces/kube-system/pods", SAME),
        (
            "/api/v1/namespaces/default/pods/nginx-deployment-66b6c48dd5-7tq9l/log",
            "/api/v1/namespaces/default/pods/{id}/log",
        ),
        (
            "/api/v1/namespaces/kube-system/pods/coredns-5d78c9869d-bcdfg",
            "/api/v1/namespaces/kube-system/pods/{id}",
        ),
        (
            "/api/v1/namespaces/kube-system/pods/kube-proxy-x8tzk",
            "/api/v1/namespaces/kube-system/pods/{id}",
        ),
        (
            "/api/v1/nodes/ip-10-0-1-23.ec2.internal/proxy/metrics",
            "/api/v1/nodes/{id}/proxy/metrics",
        ),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", SAME),
        ("/apis/admissionregistration.k8s.io/v1beta1/validatingwebhookconfigurations", SAME),
        ("/apis/autoscaling/v2beta2/namespaces/default/horizontalpodautoscalers/web", SAME),
        (
            "/apis/batch/v1/namespaces/default/jobs/backup-28312345",
            "/apis/batch/v1/namespaces/default/jobs/{id}",
        ),
        (
            "/api/v1/namespaces/monitoring/services/http:grafana:3000/proxy/login",
            "/api/v1/namespaces/monitoring/services/{id}/proxy/login",
        ),
        ("/openapi/v3", SAME),
    ],
    "Jira and Confluence": [
        ("/rest/api/2/issue/ABC-123", "/rest/api/2/issue/{id}"),
        ("/rest/api/3/issue/ABC-123/comment/10000", "/rest/api/3/issue/{id}/comment/{id}"),
        ("/rest/api/latest/project/10000/role/10360", "/rest/api/latest/project/{id}/role/{id}"),
        ("/rest/agile/1.0/board/84/sprint", "/rest/agile/1.0/board/{id}/sprint"),
        ("/jira/rest/auth/1/session", SAME),
        ("/browse/ABC-7", "/browse/{id}"),
        ("/wiki/rest/api/content/3604482/child/page", "/wiki/rest/api/content/{id}/child/page"),
        (
            "/wiki/spaces/DOC/pages/98306/Getting+started",
            "/wiki/spaces/DOC/pages/{id}/Getting+started",
        ),
        (
            "/secure/Dashboard.jspa;jsessionid=1A530637289A03B07199A44E8D531427",
            "/secure/Dashboard.jspa",
        ),
        (
            "/2.0/repositories/atlassian/aui/pullrequests/4",
            "/2.0/repositories/atlassian/aui/pullrequests/{id}",
        ),
        (f"/2.0/repositories/%7B{UUID}%7D/%7B{UUID}%7D/refs", "/2.0/repositories/{id}/{id}/refs"),
    ],
    "S3": [
        (
            "/example-bucket/photos/2026/02/sample.jpg",
            "/example-bucket/photos/{id}/{id}/sample.jpg",
        ),
        ("/example-bucket/DCIM/IMG_2042.jpg", "/example-bucket/DCIM/{id}.jpg"),
        (
            "/example-bucket/year=2026/month=11/day=23/part-00000.parquet",
            "/example-bucket/{id}/{id}/{id}/{id}",
        ),
        (f"/example-bucket/uploads/{UUID}.pdf", "/example-bucket/uploads/{id}.pdf"),
        ("/example-bucket/backup%202026-11-23.tar.gz", "/example-bucket/{id}.gz"),
        ("/example-bucket/DSC00042.JPG", "/example-bucket/{id}.JPG"),
    ],
    "Elasticsearch": [
        ("/logstash-2026.11.23/_search", "/{id}/_search"),
        ("/.ds-logs-nginx-default-2026.11.23-000001/_stats", "/{id}/_stats"),
        ("/my-index-000001/_doc/0", "/{id}/_doc/{id}"),
        ("/products/_doc/W0tpsmIBdwcYyG50zbta", "/products/_doc/{id}"),
        ("/_tasks/oTUltX4IQMOUUVeiohTt8A:12345/_cancel", "/_tasks/{id}/_cancel"),
        ("/_cat/indices", SAME),
        ("/_ilm/policy/my_policy", SAME),
        ("/logs-*/_async_search", SAME),
        ("/_nodes/stats/indices,os", SAME),
        ("/_snapshot/my_repository/snapshot_2", "/_snapshot/my_repository/{id}"),
    ],
    "WordPress": [
        ("/wp-json/wp/v2/posts/123", "/wp-json/wp/v2/posts/{id}"),
        (
            "/wp-content/uploads/2026/05/IMG_2042-300x200.jpg",
            "/wp-content/uploads/{id}/{id}/{id}.jpg",
        ),
        ("/wp-content/plugins/contact-form-7/includes/js/index.js", SAME),
        ("/wp-content/themes/twentytwentyfour/style.css", SAME),
        ("/wp-includes/js/jquery/jquery-migrate.min.js", SAME),
        ("/2026/11/23/hello-world/", "/{id}/{id}/{id}/hello-world/"),
        ("/wp-admin/admin-ajax.php", SAME),
        ("/wp-json/wc/v3/orders/727/refunds/726", "/wp-json/wc/v3/orders/{id}/refunds/{id}"),
        ("/page/2/", "/page/{id}/"),
        ("/wp-login.php", SAME),
    ],
    "OData": [
        ("/odata/Products(42)", "/odata/Products({id})"),
        (
            "/V4/Northwind/Northwind.svc/Customers('ALFKI')/Orders",
            "/V4/Northwind/Northwind.svc/Customers({id})/Orders",
        ),
        ("/Northwind.svc/Customers(%27ALFKI%27)", "/Northwind.svc/Customers({id})"),
        ("/odata/Order_Details(OrderID=10248,ProductID=11)", "/odata/Order_Details({id})"),
        (
            "/api/data/v9.2/accounts(c56a4180-65aa-42ec-a945-5fd21dec0538)/name",
            "/api/data/v9.2/accounts({id})/name",
        ),
        ("/odata/$metadata", SAME),
        ("/odata/Products/$count", SAME),
        ("/odata/Products/Default.MostExpensive()", SAME),
        (
            "/v1.0/reports/getEmailActivityCounts(period='D7')",
            "/v1.0/reports/getEmailActivityCounts({id})",
        ),
        (
            "/_api/web/lists/getbytitle('Documents')/items(7)",
            "/_api/web/lists/getbytitle({id})/items({id})",
        ),
        ("/v1.0/users/ann@example.com/messages", "/v1.0/users/{id}/messages"),
    ],
    "Stripe": [
        ("/v1/customers/cus_NffrFeUfNV2Hib", "/v1/customers/{id}"),
        ("/v1/customers/cus_NffrFeUfNVXHib/sources", "/v1/customers/{id}/sources"),
        (
            "/v1/payment_intents/pi_3MtwBwLkdIwHu7ix28a3tqPa/confirm",
            "/v1/payment_intents/{id}/confirm",
        ),
        (
            "/v1/checkout/sessions/cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW",
            "/v1/checkout/sessions/{id}",
        ),
        (
            "/v1/subscription_schedules/sub_sched_1Mr3YcLkdIwHu7ixjop3qtff",
            "/v1/subscription_schedules/{id}",
        ),
        ("/v1/treasury/outbound_transfers", SAME),
        ("/v2/core/event_destinations", SAME),
    ],
    "Keycloak": [
        ("/realms/master/protocol/openid-connect/token", SAME),
        ("/realms/master/.well-known/openid-configuration", SAME),
        (
            f"/admin/realms/master/users/{UUID}/role-mappings/realm",
            "/admin/realms/master/users/{id}/role-mappings/realm",
        ),
        ("/realms/master/protocol/saml/descriptor", SAME),
        (
            "/resources/8q2vc/login/keycloak.v2/css/styles.css",
            "/resources/{id}/login/keycloak.v2/css/styles.css",
        ),
        ("/realms/master/login-actions/authenticate", SAME),
    ],
    "Grafana": [
        ("/api/dashboards/uid/cIBgcSjkk", "/api/dashboards/uid/{id}"),
        ("/d/000000012/grafana-play-home", "/d/{id}/grafana-play-home"),
        (
            "/api/datasources/proxy/1/api/v1/query_range",
            "/api/datasources/proxy/{id}/api/v1/query_range",
        ),
        ("/api/datasources/uid/kLtEtcRGk/health", "/api/datasources/uid/{id}/health"),
        ("/public/build/app.6ea3b0bd5b4f2d3d7a7b.js", "/public/build/{id}.js"),
        ("/api/alertmanager/grafana/api/v2/alerts", SAME),
        ("/api/v1/provisioning/alert-rules/export", SAME),
        ("/avatar/46d229b033af06a191ff2267bca9ae56", "/avatar/{id}"),
    ],
    "Prometheus": [
        ("/api/v1/label/job/values", SAME),
        ("/api/v1/query_range", SAME),
        ("/metrics/job/backup/instance/192.0.2.7:9100", "/metrics/job/backup/instance/{id}"),
        ("/api/v2/silence/c56a4180-65aa-42ec-a945-5fd21dec0538", "/api/v2/silence/{id}"),
        ("/static/js/main.3f2a1b9c.js", "/static/js/{id}.js"),
        ("/api/traces/2f3e0cee77ae5dc9c17ade3689eb2e54", "/api/traces/{id}"),
    ],
    "registries": [
        (f"/v2/library/nginx/blobs/sha256:{SHA256}", "/v2/library/nginx/blobs/{id}"),
        ("/v2/library/nginx/manifests/1.25.3", "/v2/library/nginx/manifests/{id}"),
        ("/v1.41/containers/4fa6e0f0c678/logs", "/v1.41/containers/{id}/logs"),
        ("/@babel%2fcore", "/{id}"),
        ("/@types/node", SAME),
        ("/npm/vue@3.4.21/dist/vue.global.js", "/npm/{id}/dist/vue.global.js"),
        ("/ajax/libs/jquery/3.6.0/jquery.min.js", "/ajax/libs/jquery/{id}/jquery.min.js"),
        ("/github.com/pkg/errors/@v/v0.8.1.info", "/github.com/pkg/errors/@v/{id}.info"),
        ("/github.com/pkg/errors/@v/list", SAME),
    ],
    "other APIs": [
        (
            "/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json",
            "/2010-04-01/Accounts/{id}/Messages.json",
        ),
        ("/2015-03-31/functions/resize/invocations", SAME),
        ("/1.1/statuses/show/210462857140252672.json", "/1.1/statuses/show/{id}.json"),
        ("/admin/api/2026-01/products/632910392.json", "/admin/api/2026-01/products/{id}.json"),
        (
            "/services/data/v57.0/sobjects/Account/001D000000IqhSLIAZ",
            "/services/data/v57.0/sobjects/Account/{id}",
        ),
        ("/api/v10/guilds/197038439483310086/members/@me", "/api/v10/guilds/{id}/members/@me"),
        (
            "/v1/projects/my-project/locations/global/operations/operation-1729000:cancel",
            "/v1/projects/my-project/locations/global/operations/{id}:cancel",
        ),
        ("/v1/documents:runQuery", SAME),
        ("/api/queues/%2F/orders", "/api/queues/{id}/orders"),
        ("/oauth2/v2.0/authorize", SAME),
        ("/.well-known/oauth2-authorization-server", SAME),
        ("/v2/tickets/trace_4bf92f3577b34da6a3ce929d0e0e4736", "/v2/tickets/{id}"),
        ("/api/conversations/C024BE91L/history", "/api/conversations/{id}/history"),
        ("/watch/dQw4w9WgXcQ", "/watch/{id}"),
        ("/users/%31%32%33/posts", "/users/{id}/posts"),
        ("/users/ann%40example.com/posts", "/users/{id}/posts"),
        ("/entity/Q42.json", "/entity/{id}.json"),
        ("/vulnerabilities/CVE-2021-44228", "/vulnerabilities/{id}"),
        ("/title/tt0111161/", "/title/{id}/"),
        ("/doi/10.1000/182", "/doi/{id}/{id}"),
        ("/ec2/instances/i-0abcd1234ef567890", "/ec2/instances/{id}"),
        ("/pets;color=red/7;x=1/toys", "/pets/{id}/toys"),
    ],
    "access logs": [
        ("/blog/geekery/84.html", "/blog/geekery/{id}.html"),
        ("/blog/2008/May/30", "/blog/{id}/May/{id}"),
        ("/blog/tags/%20barcamp", SAME),
        ("/blog/geekery/xdotool-2.20100524.html", "/blog/geekery/{id}.html"),
        ("/blog/geekery/installing-windows-8-consumer-preview.html", SAME),
        ("/files/blogposts/20090105/ie7vista.png", "/files/blogposts/{id}/ie7vista.png"),
        ("/presentations/logstash-preso-1.0/images/logstashbook.png", SAME),
        ("/style2.css", SAME),
        ("/apple-touch-icon-120x120-precomposed.png", SAME),
        ("/favicon-32x32.png", SAME),
        ("/images/logo@2x.png", SAME),
        ("/index.php//users//7", "/index.php/users/{id}"),
        ("//wp-login.php", "/wp-login.php"),
        ("/es-419/docs", SAME),
        ("/cgi-bin/.%2e/.%2e/bin/sh", "/cgi-bin/.%2e/.%2e/bin/sh"),
        ("/404.html", SAME),
        ("/50x.html", SAME),
    ],
}

WRONG = {
    # identifiers left standing
    "/api/v1/namespaces/kube-system/pods/kube-proxy-x8tzk": "kube-proxy-x8tzk",
    "/_snapshot/my_repository/snapshot_2": "snapshot_2",
    "/resources/8q2vc/login/keycloak.v2/css/styles.css": "8q2vc",
    "/api/dashboards/uid/cIBgcSjkk": "cIBgcSjkk",
    "/api/datasources/uid/kLtEtcRGk/health": "kLtEtcRGk",
    "/entity/Q42.json": "Q42.json",
    # words taken for identifiers
    "/jira/rest/auth/1/session": "{id}",  # as /rest/people/1 has it
    "/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json": "{id}",
    "/2015-03-31/functions/resize/invocations": "{id}",
    "/404.html": "{id}.html",
}
"""Paths with a wrong verdict, and the segment as it is shown."""

ALL = [(path, wanted or path) for rows in PATHS.values() for path, wanted in rows]


def wrong_segments(path: str, wanted: str) -> list[tuple[str, str]]:
    """Each segment that is shown otherwise than it should be: as shown, as it should be."""
    pairs = zip(NAMER.endpoint_of(path).split("/"), wanted.split("/"), strict=True)
    return [(shown, right) for shown, right in pairs if shown != right]


def test_templates_are_those_of_the_routers_except_for_the_known_few() -> None:
    wrong = {path: wrong_segments(path, wanted) for path, wanted in ALL}
    assert {path: shown for path, pairs in wrong.items() for shown, _ in pairs} == WRONG
    verdicts = [pair for pairs in wrong.values() for pair in pairs]
    assert sum(PLACEHOLDER not in shown for shown, _ in verdicts) == 6  # identifiers left standing
    assert (
        sum(PLACEHOLDER not in right for _, right in verdicts) == 4
    )  # words taken for identifiers


def test_table_is_large_and_has_no_path_twice() -> None:
    assert len(ALL) >= 130
    assert len({path for path, _ in ALL}) == len(ALL)
